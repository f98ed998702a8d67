"""Checkpoints of a user's own script: the states of its objects, under Accelerate's file names.

``state_dict()`` of a model, optimizer, scheduler, and of what ``register_for_checkpointing`` has been given goes to a
pickle; random states go to one for each rank. A file of a checkpoint is loaded with ``pickle``, which runs code: load
only checkpoints that you have made. Models of a simulated run have no weights; of them the number of steps is kept.

What this module does not do: torch's archive format, sharded weights, and checkpoints of a planned run
(``checkpointing.py``).
"""

from __future__ import annotations

import pickle
import random
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

STEPS = "simulated_steps.bin"
"""File of the number of optimizer steps that the simulated run has made."""


def write_pickle(path: Path, thing: Any) -> None:
    """Write one object, whole or not at all. Raises OutputError."""
    from accelerate_sim.artifacts.atomic import write_file

    write_file(path, pickle.dumps(thing))


def read_pickle(path: Path) -> Any:
    """The object of a file. FileNotFoundError says which one is missing."""
    return pickle.loads(path.read_bytes())


def numbered(stem: str, number: int, ending: str = ".bin") -> str:
    """Name of the file of object ``number`` of a kind: the first one has no number."""
    return f"{stem}{ending}" if number == 0 else f"{stem}_{number}{ending}"


def files_of(kinds: Mapping[str, Sequence[Any]]) -> list[tuple[str, Any]]:
    """(file name, object) of each object that has a state."""
    return [
        (numbered(stem, number), thing)
        for stem, things in kinds.items()
        for number, thing in enumerate(things)
        if hasattr(thing, "state_dict")
    ]


def random_states() -> dict[str, Any]:
    """The states of Python's and numpy's generators."""
    return {"random_state": random.getstate(), "numpy_random_seed": np.random.get_state()}


def set_random_states(states: dict[str, Any]) -> None:
    """Go on with generators in these states."""
    random.setstate(states["random_state"])
    np.random.set_state(states["numpy_random_seed"])


def random_file(rank: int) -> str:
    """Name of the file of a rank's random states."""
    return f"random_states_{rank}.pkl"


def custom_file(number: int) -> str:
    """Name of the file of an object that has been registered."""
    return f"custom_checkpoint_{number}.pkl"


def numbered_checkpoints(directory: Path) -> list[Path]:
    """Automatically named checkpoints below ``directory``, oldest first."""
    found = [path for path in directory.glob("checkpoint_*") if re.fullmatch(r"checkpoint_\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.rpartition("_")[2]))


def make_room(directory: Path, total_limit: int | None) -> None:
    """Delete the oldest checkpoints, so that with one more there are at most ``total_limit``."""
    if total_limit is None:
        return
    there = numbered_checkpoints(directory)
    for path in there[: max(len(there) + 1 - total_limit, 0)]:
        shutil.rmtree(path)
