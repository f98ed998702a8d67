"""Imports, before train.py is forked, what many of its runs would import each for itself."""

from __future__ import annotations

from importlib import import_module

import pytest

OF_MANY_RUNS = (
    "checkpoints.files", "session.control.server", "session.dashboard", "session.faults.attempts",
    "session.faults.launcher_report", "session.faults.truth_log", "session.hazards", "voices.megatron",
)  # fmt: skip
"""Modules that an option asks for; those of every run are in ``accelerate_sim.before_fork``."""


@pytest.fixture(scope="session", autouse=True)
def what_many_runs_need_is_imported() -> None:
    """Import the modules once in each of pytest's processes."""
    for name in OF_MANY_RUNS:
        import_module(f"accelerate_sim.{name}")
