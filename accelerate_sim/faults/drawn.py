"""Faults of a fleet's rate (``faults.drawn: play``) as faults of the language, each with its time and place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from accelerate_sim.faults.fault import Fault
from accelerate_sim.faults.language import parse
from accelerate_sim.sim.disturbances.faults import Cause, Faults

if TYPE_CHECKING:
    from accelerate_sim.sim.disturbances.faults import Fault as Drawn
    from accelerate_sim.sim.run import Run

WINDOW_S = 1000 * 3600.0
KINDS_OF_CAUSES = {
    "software bug": "raise rank={rank} error=RuntimeError text='unspecified launch failure'",
    "dependency": "raise rank={rank} error=ImportError text='a dependency has changed'",
}
"""The words of a cause; of every other one the ranks concerned are killed."""


def drawn_faults(run: Run) -> Iterator[Fault]:
    """The faults of the config's rate in order, without end if the rate is not 0."""
    fleet = Faults(run.noise_seed, run.layout.world_size, run.config.faults.rate)
    if not fleet.rate:
        return
    number = 0
    for window in itertools.count():
        for drawn in fleet.between(window * WINDOW_S, (window + 1) * WINDOW_S):
            number += 1
            yield _fault(drawn, number, run.layout.gpus_per_node)


def _fault(drawn: Drawn, number: int, gpus_per_node: int) -> Fault:
    node, _ = divmod(drawn.rank, gpus_per_node)
    words = KINDS_OF_CAUSES.get(drawn.cause.name, _words(drawn.cause)).format(rank=drawn.rank, node=node)
    xid = "" if drawn.xid is None else f", Xid {drawn.xid}"
    return parse(f"{words} at=time:{drawn.second!r}s id=drawn-{number} note='{drawn.cause.name}{xid}'")


def _words(cause: Cause) -> str:
    return "kill node={node}" if cause.whole_node else "kill rank={rank}"
