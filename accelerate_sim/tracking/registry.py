"""Opens the trackers that a run names, and refuses those that cannot work here.

``TRACKERS`` in ``accelerate_sim.config.voice_table`` is the table of all trackers.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from accelerate_sim.config.problems import ConfigError, Problem, shown
from accelerate_sim.config.tracker_table import TRACKERS, TrackerEntry
from accelerate_sim.config.voice_table import voice_choice
from accelerate_sim.tracking.tracker import Tracker, TrackerContext

KEY = "log.trackers"


def require_packages(names: Sequence[str], output_dir: Path | None) -> None:
    """Raise ConfigError for each tracker that needs an output directory or a package that is not there."""
    problems = []
    for name in dict.fromkeys(names):
        entry = TRACKERS[name]
        if entry.writes_files and output_dir is None:
            reason = f"has {name}, which writes files"
            problems.append(problem(names, reason, "Say where to with --output-dir."))
        elif not _installed(entry):
            way_out = f"Install it with: pip install {entry.packages[0]}."
            problems.append(problem(names, f"has {name}, whose package is not installed", way_out))
    if problems:
        raise ConfigError(problems)


def open_trackers(context: TrackerContext) -> list[Tracker]:
    """Open every tracker that ``log.trackers`` names, metrics.jsonl aside. KeyError for a name that is not in TRACKERS.

    Raises ConfigError if a tracker cannot start, for example because its port is in use.
    """
    entries = (TRACKERS[name] for name in dict.fromkeys(context.log.trackers))
    return [_open(entry.opened_by, context) for entry in entries if entry.opened_by]


def open_framework_files(context: TrackerContext) -> list[Tracker]:
    """Open the trackers of the files that the framework of the voice writes."""
    return [_open(each, context) for each in voice_choice(context.log.voice).entry.files]


def _open(opened_by: str, context: TrackerContext) -> Tracker:
    module, _, name = opened_by.partition(":")
    tracker: Tracker = getattr(import_module(module), name).open(context)
    return tracker


def _installed(entry: TrackerEntry) -> bool:
    from importlib.util import find_spec

    return not entry.packages or any(find_spec(package) is not None for package in entry.packages)


def problem(names: Sequence[str], reason: str, way_out: str) -> Problem:
    """A problem of the key ``log.trackers``, whose value is ``names``."""
    return Problem.about(KEY, shown(list(names)), reason, way_out)
