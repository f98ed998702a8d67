"""Turns what a caller names as a config into the run that it plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from accelerate_sim.config.load import ConfigSource, Override
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.shipped import find_config
from accelerate_sim.session.run_source import checked_plan
from accelerate_sim.sim.run import Run

Config: TypeAlias = str | Path | Mapping[str, Any] | RunConfig
"""A file, the name of a shipped config, nested keys and values as in YAML, or a config that is made already."""


def planned_run(
    config: Config, changes: Sequence[str] = (), *, seed: int | None = None, faults: Sequence[str] = ()
) -> Run:
    """The run with this config. ``changes`` are as those of ``--set``: ``train.lr=3e-4``; ``faults`` as of ``--fault``.

    Raises ConfigError with every problem, as the command line does.
    """
    all_changes = [Override(change, "changes") for change in changes]
    if seed is not None:
        all_changes.append(Override(f"run.seed={seed}", "seed"))
    if isinstance(config, RunConfig):
        config = config.model_dump(mode="json")
    if isinstance(config, Mapping):
        source = ConfigSource.read(None, all_changes, base=config)
    else:
        source = ConfigSource.read(find_config(config), all_changes)
    return Run.of(checked_plan(source.with_faults(faults, "faults"), 1))


def faults_happen(run: Run) -> bool:
    """True if faults are played in the run; those that are only planned leave it as it is."""
    faults = run.config.faults
    return bool(faults.play or (faults.drawn == "play" and faults.rate))
