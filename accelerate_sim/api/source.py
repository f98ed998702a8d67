"""Turns what a caller names as a config into the run that it plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from accelerate_sim.config.load import ConfigSource, Override
from accelerate_sim.config.problems import ConfigError, Problem, shorten
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
    changes, faults = check_arguments(config, changes, faults)
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


def refused(name: str, value: object, reason: str, way_out: str) -> ConfigError:
    """The error of an argument that is of no use."""
    return ConfigError([Problem("", None, name, shorten(repr(value)), reason, way_out)])


def check_arguments(config: object, changes: object, faults: object) -> tuple[list[str], list[str]]:
    """The changes and the faults as lists, after a check of the types of all arguments. Raises ConfigError."""
    if not isinstance(config, str | Path | Mapping | RunConfig):
        way_out = "Use e.g. 'llama70b', Path('run.yaml') or {'train': {'lr': 3e-4}}."
        raise refused("config", config, "names no config", way_out)
    odd = next((key for key in _keys(config) if not isinstance(key, str)), None)
    if odd is not None:
        raise refused("config", odd, "is a key that is no text", "Use texts, e.g. {'train': {'lr': 3e-4}}.")
    return (
        _texts("changes", changes, "['train.lr=3e-4']; a seed is given by its name: seed=7"),
        _texts("faults", faults, "['kill rank=13 at=step:40']"),
    )


def _texts(name: str, given: object, example: str) -> list[str]:
    listed = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    texts = list(given) if isinstance(given, Iterable) else []
    if not listed or not all(isinstance(text, str) for text in texts):
        raise refused(name, given, "is no list of texts", f"Use e.g. {name}={example}.")
    return texts


def _keys(config: object) -> Iterator[object]:
    """The keys of nested mappings."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield key
            yield from _keys(value)


def faults_happen(run: Run) -> bool:
    """True if faults are played in the run; those that are only planned leave it as it is."""
    faults = run.config.faults
    return bool(faults.play or (faults.drawn == "play" and faults.rate))
