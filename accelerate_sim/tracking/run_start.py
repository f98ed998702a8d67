"""What a tracker is told when a run begins, or goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run of the session."""

    number: int
    model: str
    seed: int
    step: int
    """Steps that have been made before: 0 unless the run goes on."""
    time: datetime
    """Simulated."""
    config: Mapping[str, Any]
    origin_s: float = 0.0
    """Second of the session's clock at which the run began."""
    pids: tuple[int, ...] = ()
    """Of the processes that play one rank each, in rank order; none if one process plays all."""


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
