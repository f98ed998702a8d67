"""The names of a package that loads its modules on first use."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections import Counter
from operator import attrgetter
from types import ModuleType

import pytest

import accelerate_sim
from accelerate_sim import utils

FRONTS = (accelerate_sim, utils)


def imported_for_types(front: ModuleType) -> dict[str, set[str]]:
    """The names by module that a type checker sees."""
    tree = ast.parse(inspect.getsource(front))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    statements = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {(node.module or "").partition(".")[2]: {alias.name for alias in node.names} for node in statements}


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.__name__)
def test_all_lists_of_a_front_have_the_same_names(front: ModuleType) -> None:
    homes = front._HOMES
    assert {home: set(names) for home, names in homes.items()} == imported_for_types(front)
    assert Counter(front.__all__) == Counter(name for names in homes.values() for name in names)


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.__name__)
def test_each_name_is_found_in_its_module(front: ModuleType) -> None:
    for home, names in front._HOMES.items():
        for name in names:
            found = getattr(front, name)
            assert found is getattr(sys.modules[f"accelerate_sim.{home}"], name)


def test_modules_that_are_loaded_together_have_names() -> None:
    assert set(accelerate_sim._OF_EVERY_RUN) <= accelerate_sim._HOMES.keys()


def test_a_name_that_is_missing_is_refused_in_one_sentence() -> None:
    with pytest.raises(AttributeError, match=r"accelerate_sim has no 'Acelerator'; what is there: accelerate_sim"):
        attrgetter("Acelerator")(accelerate_sim)
    with pytest.raises(AttributeError, match=r"accelerate_sim.utils.DynamoBackend has no meaning here: train.compiled"):
        attrgetter("DynamoBackend")(utils)


def test_a_script_loads_neither_a_command_line_nor_what_it_does_not_use() -> None:
    """Imports take most of the start of a script."""
    script = """
import sys
from accelerate_sim import Accelerator, tqdm
unwanted = "typer", "accelerate_sim.cli", "accelerate_sim.export", "accelerate_sim.own_script.local_sgd"
print(*(sys.modules.keys() & {*unwanted}))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (ended.stdout, ended.stderr) == ("\n", "")
