"""``configs/launchers`` stands beside the configs and disturbs neither them nor the wheel; its scripts can be read."""

from __future__ import annotations

import ast
import subprocess

import pytest

from tests.support.reading import Train
from tests.support.repository import CONFIGS, ROOT

LAUNCHERS = CONFIGS / "launchers"


def test_the_list_of_configs_is_as_without_the_folder(train: Train):
    listed = [line.split()[0] for line in train("--list", "configs").stdout.splitlines()[1:]]
    assert listed == sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("path", sorted(LAUNCHERS.glob("*.sbatch")), ids=lambda path: path.stem)
def test_a_batch_script_is_bash(path):
    subprocess.run(["bash", "-n", path], check=True, timeout=60)
    assert path.read_text().startswith("#!/bin/bash\n# ")


def test_the_ray_script_is_python():
    assert ast.get_docstring(ast.parse((LAUNCHERS / "ray_ranks.py").read_text()))


def test_the_page_names_every_file():
    page = (ROOT / "fake_torch_dist" / "launcher" / "ENGINES.md").read_text()
    assert [path.name for path in LAUNCHERS.iterdir() if path.name not in page] == []
