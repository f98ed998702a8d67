"""Time of a log line in each voice: records go through the console to a pipe that another process reads.

A framework may print several lines for a step, and a host or an epoch of its own; the time is that of one line.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.output import LogConfig
from accelerate_sim.config.voice_table import VOICES
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DetectRecord, StepRecord
from accelerate_sim.reporting.build import run_facts
from accelerate_sim.session.log_handler import logging_to
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session
from accelerate_sim.sim.plan import Plan
from accelerate_sim.voices.voice import Line, speaker_of
from tests.support.processes import Children

pytestmark = pytest.mark.slow
START = datetime(2026, 1, 31, 9, 30)
STEPS, TURNS = 50_000, 5
MOST_TIMES = 1.1
"""Times of the house's line that a line may take; the dictionaries of some frameworks have twice as many figures."""
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


def lines_of_a_step(voice: str) -> float:
    """Lines that the voice prints for a step at ``log.every`` 1; 1 if it prints none."""
    config = RunConfig(log=LogConfig(voice=voice, every=1))
    plan = Plan(config)
    speaker = speaker_of(plan, run_facts(plan), lambda: START)
    say = speaker.voice.lines[StepRecord]
    counts = []
    for step in records()[:200]:
        texts = [item.text for item in say(step, speaker.state) if isinstance(item, Line)]
        counts.append(sum(text.count("\n") + 1 for text in texts))
    return sum(counts[100:]) / 100 or 1.0  # after the first ones, which have reports of their own


@contextmanager
def no_other_readers() -> Iterator[None]:
    """Take pytest's handlers off Python's logging: they would read each line of the house."""
    root = logging.getLogger()
    handlers, root.handlers[:] = list(root.handlers), []
    try:
        yield
    finally:
        root.handlers[:] = handlers


def seconds_per_million_lines(voice: str, steps: list[StepRecord], lines: float) -> float:
    """CPU seconds of this process for a million lines of steps, at ``log.every`` 1."""
    with no_other_readers(), pipe_that_is_read() as fd:
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
            return (time.process_time() - begin) * 1e6 / len(steps) / lines


def test_a_line_of_a_voice_takes_no_longer_than_one_of_the_house(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.INFO)
    steps, took = records(), {voice: [] for voice in NAMED}
    counts = {voice: lines_of_a_step(voice) for voice in NAMED}
    for _ in range(TURNS):
        for voice in NAMED:
            took[voice].append(seconds_per_million_lines(voice, steps, counts[voice]))
    best = {voice: min(each) for voice, each in took.items()}
    with capsys.disabled():
        print()
        for voice, seconds in best.items():
            print(f"{voice:24s} {seconds:6.2f} s of CPU for a million lines, {counts[voice]:5.2f} lines a step")
    assert {voice: seconds for voice, seconds in best.items() if seconds > best["house"] * MOST_TIMES} == {}
