"""A session that shows nothing and never waits, for the objects of a training script."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from accelerate_sim.accelerator import Accelerator, RunKwargs
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import Record
from accelerate_sim.session.coordination import leave_world
from accelerate_sim.session.session import Session

SMALL = {
    "model": "gpt2", "cluster": {"nodes": 2, "gpus_per_node": 4}, "parallel": {"tensor": 2},
    "train": {"epochs": 2, "steps_per_epoch": 6, "sequence_length": 1024, "global_batch": 24, "micro_batch": 2},
    "eval": {"batches": 4}, "run": {"speed": "max"},
}  # fmt: skip
"""GPT-2 on 8 GPUs: 4 replicas of 2, and 3 micro-batches a step."""


class Notes:
    """Remembers what is reported."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def observe(self, record: Record) -> None:
        self.records.append(record)

    def flush(self) -> None: ...


@pytest.fixture
def session() -> Iterator[Session]:
    """A session of its own for the test."""
    fd = os.open(os.devnull, os.O_WRONLY)
    clock = Clock(datetime(2026, 1, 1), wait=lambda seconds: None)
    with Signals() as signals:
        session = Session(screen=Screen(fd, live=False), clock=clock, style=Style(), signals=signals, progress=False)
        session.enter()
        yield session
        session.leave()
        leave_world()
    os.close(fd)


@pytest.fixture
def told(session: Session) -> list[Record]:
    """Records that are reported to the session."""
    notes = Notes()
    session.outputs.add_observer(notes)
    return notes.records


@pytest.fixture
def accelerate(session: Session) -> Callable[..., Accelerator]:
    """``accelerate(section={key: value})`` begins the small run with some keys changed."""

    def begin(**changes: Any) -> Accelerator:
        raw = {name: SMALL.get(name, {}) for name in SMALL.keys() | changes.keys()}
        merged = {
            name: {**value, **changes.get(name, {})} if isinstance(value, dict) else changes.get(name, value)
            for name, value in raw.items()
        }
        return Accelerator(kwargs_handlers=[RunKwargs(RunConfig.model_validate(merged))])

    return begin
