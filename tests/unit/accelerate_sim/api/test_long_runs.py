"""A run that is iterated for long keeps nothing of the steps that are past."""

import gc
import sys
from collections.abc import Iterator

from accelerate_sim.api import StepRecord, play

FIRST, THEN = 800, 2400
"""Steps after which the memory is compared, and further ones; both are whole blocks of the simulation."""


def steps_of(voice: str | None) -> Iterator[StepRecord]:
    """The steps of a run that has validations and checkpoints now and then."""
    changes = ["train.steps_per_epoch=100000", "checkpoint.every=200", "eval.every=200"]
    return (record for record in play("debug", changes, seed=1, voice=voice) if isinstance(record, StepRecord))


def blocks_after(steps: Iterator[StepRecord], count: int) -> int:
    """Blocks of memory that Python has allocated after ``count`` more steps."""
    for _ in range(count):
        next(steps)
    gc.collect()
    return sys.getallocatedblocks()


def test_steps_leave_no_objects_behind():
    steps = steps_of(None)
    before = blocks_after(steps, FIRST)
    assert blocks_after(steps, THEN) - before < THEN // 4


def test_lines_of_a_voice_leave_no_objects_behind():
    steps = steps_of("megatron@0.15")
    before = blocks_after(steps, FIRST)
    assert blocks_after(steps, THEN) - before < THEN // 4
