"""Tables of trackers and voices, which users extend: each name with its module and its description.

The config's keys, ``--list``, ``--help`` and error messages are made from these tables. A new tracker is one module in
``accelerate_sim.tracking`` and one line of ``TRACKERS``; a new voice is one module in ``accelerate_sim.voices`` and one
line of ``VOICES``. Modules are named and not imported here, so that reading a config loads none of them.
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


class VoiceEntry(NamedTuple):
    """A voice that ``log.voice`` may name."""

    help: str
    """Description for ``--list voices``."""
    module: str
    """Module whose ``LINES`` words each kind of record."""


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

VOICES = {
    "house": VoiceEntry("fields between bars, after a time and a rank in brackets", "accelerate_sim.voices.house"),
}
"""Voices by the names that ``log.voice`` has."""


def optional_trackers() -> dict[str, TrackerEntry]:
    """Trackers that a run has only if it asks for them."""
    return {name: entry for name, entry in TRACKERS.items() if entry.opened_by}


def trackers_help() -> str:
    """The optional trackers as a sentence has them: ``tensorboard, wandb (offline) or prometheus``."""
    *others, last = (f"{name} ({entry.note})" if entry.note else name for name, entry in optional_trackers().items())
    return f"{', '.join(others)} or {last}"
