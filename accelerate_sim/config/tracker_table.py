"""The table of trackers, which users extend: each name with its module, its packages and its description.

The config's keys, ``--list``, ``--help`` and error messages are made from it. A new tracker is one module in
``accelerate_sim.tracking`` and one line of ``TRACKERS``. Modules are named and not imported here, so that reading a
config loads none of them.
"""

from __future__ import annotations

from typing import NamedTuple


class TrackerEntry(NamedTuple):
    """A tracker that ``log.trackers`` may name."""

    help: str
    """Description for ``--list trackers``."""
    opened_by: str | None
    """Module and class, divided by a colon; the class has ``open(context: TrackerContext)``. None: the session itself
    opens the tracker for every output directory."""
    packages: tuple[str, ...] = ()
    """Python packages of which one is needed; empty: the tracker needs none."""
    writes_files: bool = True
    """True if the tracker needs an output directory."""
    note: str = ""
    """A word that ``--help`` adds to the name."""


TRACKERS = {
    "jsonl": TrackerEntry("metrics.jsonl, written with every --output-dir", None),
    "tensorboard": TrackerEntry(
        "event files below runs/", "accelerate_sim.tracking.tensorboard:TensorBoardTracker",
        ("tensorboard", "tensorboardX"),
    ),
    "wandb": TrackerEntry(
        "a Weights & Biases run below wandb/, to upload with wandb sync",
        "accelerate_sim.tracking.wandb:WandbTracker", ("wandb",), note="offline",
    ),
    "prometheus": TrackerEntry(
        "an HTTP endpoint for scrapes, at log.prometheus_address",
        "accelerate_sim.tracking.prometheus:PrometheusTracker", writes_files=False,
    ),
}  # fmt: skip
"""Trackers by the names that Accelerate's ``log_with`` has."""


def optional_trackers() -> dict[str, TrackerEntry]:
    """Trackers that a run has only if it asks for them."""
    return {name: entry for name, entry in TRACKERS.items() if entry.opened_by}


def trackers_help() -> str:
    """The optional trackers as a sentence has them: ``tensorboard, wandb (offline) or prometheus``."""
    *others, last = (f"{name} ({entry.note})" if entry.note else name for name, entry in optional_trackers().items())
    return f"{', '.join(others)} or {last}"
