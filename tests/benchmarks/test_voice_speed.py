"""Time of a log line in each voice: records go through the console to a pipe that another process reads."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import pytest

from accelerate_sim.config.extensions import VOICES
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.output import LogConfig
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DetectRecord, StepRecord
from accelerate_sim.session.log_handler import logging_to
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session
from accelerate_sim.sim.plan import Plan
from tests.support.processes import Children

pytestmark = pytest.mark.slow
START = datetime(2026, 1, 31, 9, 30)
STEPS, TURNS = 50_000, 5
SILENT = "deepspeed@0.18"
NAMED = [f"{name}@{each}".rstrip("@") for name, entry in VOICES.items() for each in entry.versions or [""]]
STEP = partial(
    StepRecord, run=1, epoch=1, step_time_s=3.71234, perplexity=12.1234, grad_norm=1.2345678, lr=1.5e-5,
    global_batch=128, tokens_per_s=283000.1234, mfu=0.45123456, memory_used_bytes=70 * 2**30,
)  # fmt: skip


def records() -> list[StepRecord]:
    return [
        STEP(
            step=step, time=START + timedelta(seconds=3.7 * step), elapsed_s=3.7 * step, loss=2.5 + step * 1e-6,
            tokens=step * 128 * 8192,
        )
        for step in range(1, STEPS + 1)
    ]  # fmt: skip


@contextmanager
def pipe_that_is_read() -> Iterator[int]:
    reader, writer = os.pipe()

    def read() -> None:
        os.close(writer)
        while os.read(reader, 1 << 16):
            pass

    with Children() as children:
        children.fork(read)
        os.close(reader)
        try:
            yield writer
        finally:
            os.close(writer)
            children.wait()


def seconds_per_million_steps(voice: str, steps: list[StepRecord]) -> float:
    """CPU seconds of this process for a million steps with a line each, at ``log.every`` 1."""
    with pipe_that_is_read() as fd:
        config = RunConfig(log=LogConfig(voice=voice, every=1, gpu_grid_every=0))
        session = Session(
            screen=Screen(fd, live=False), clock=Clock(START), style=Style(color=False), signals=Signals(),
            progress=False,
        )  # fmt: skip
        with logging_to(session):
            session.plan_run(PlannedRun(Plan(config), None))
            session.report(DetectRecord(0.0))
            begin = time.process_time()
            for step in steps:
                session.report(step)
            session.flush()
            return (time.process_time() - begin) * 1e6 / len(steps)


def test_a_voice_takes_no_longer_than_the_house(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.INFO)
    steps, took = records(), {voice: [] for voice in NAMED}
    for _ in range(TURNS):
        for voice in NAMED:
            took[voice].append(seconds_per_million_steps(voice, steps))
    best = {voice: min(each) for voice, each in took.items()}
    with capsys.disabled():
        for voice, seconds in best.items():
            print(f"{voice:24s} {seconds:6.2f} s of CPU for a million steps")
    assert {voice: seconds for voice, seconds in best.items() if seconds > best["house"]} == {}
