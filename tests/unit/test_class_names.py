"""A class name stands for one thing in both packages."""

from __future__ import annotations

import re
from collections import defaultdict

from tests.unit.test_import_order import modules

CLASS = re.compile(r"^class ([A-Z]\w*)", re.MULTILINE)
OF_OTHER_LIBRARIES = {"JsonlTracker", "TensorBoardTracker"}
"""Accelerate's names of the trackers of a user's own script; the tracker of a simulated run has the same format."""
WITHIN_A_FOLDER = {"Arguments", "Kind"}
"""Classes that only the modules of their own folder name."""
OF_THE_API = {"Telemetry"}
"""Classes of ``accelerate_sim.api`` that give a user the object of that name."""


def test_no_two_public_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for module, path in modules().items():
        for name in CLASS.findall(path.read_text(encoding="utf-8")):
            places[name].append(module)
    twins = {name: found for name, found in places.items() if len(found) > 1}
    assert twins.keys() == OF_OTHER_LIBRARIES | WITHIN_A_FOLDER | OF_THE_API, twins
    for name in WITHIN_A_FOLDER:
        assert len({module.rpartition(".")[0] for module in twins[name]}) == len(twins[name])
