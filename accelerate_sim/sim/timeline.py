"""The times of steps, checkpoints and validations on the simulated clock.

Seconds count from the beginning of the first step; start-up is before, export after. A step is followed by its
validation and then by its checkpoint, which can thus hold the validation's loss. Sums are made in blocks of steps,
always the same ones, so that any step's time has the same bits in every process, and any second can be mapped back
to what happens in it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.noise import Floats, Steps

BLOCK = 256
"""Number of steps that are computed together."""
LOOK_AFTER_S = 1.0
"""Seconds after a phase has begun at which the GPUs are sampled for a record."""

Mask = NDArray[np.bool_]
Phase = Literal["startup", "step", "checkpoint", "validation", "export", "idle"]


class Span(NamedTuple):
    """A span of time with one phase."""

    phase: Phase
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Calendar:
    """The steps, from 0, that a checkpoint or a validation follows."""

    total_steps: int
    steps_per_epoch: int
    checkpoint_every: int
    eval_every: int
    """Steps between validations; 0: only at the end of an epoch."""

    @classmethod
    def of(cls, config: RunConfig, total_steps: int) -> "Calendar":
        return cls(total_steps, config.train.steps_per_epoch, config.checkpoint.every, config.eval.every)

    def saves_after(self, step: Steps) -> Mask:
        if not self.checkpoint_every:
            return np.zeros(np.shape(step), bool)
        return np.asarray(((step + 1) % self.checkpoint_every == 0) & (step < self.total_steps))

    def validates_after(self, step: Steps) -> Mask:
        due = ((step + 1) % self.steps_per_epoch == 0) | (step + 1 == self.total_steps)
        if self.eval_every:
            due |= (step + 1) % self.eval_every == 0
        return np.asarray(due & (step < self.total_steps))

    def validations(self, steps: int) -> list[int]:
        """The counts of steps after which there is a validation in the first ``steps`` steps."""
        numbers: Steps = np.arange(steps, dtype=np.int64)
        return [int(step) + 1 for step in numbers[self.validates_after(numbers)]]


@dataclass(frozen=True)
class BlockTimes:
    """Times of one block of steps, in seconds; arrays over its steps."""

    begin_s: float
    step_s: Floats
    step_end_s: Floats
    checkpoint_s: Floats
    validation_s: Floats

    @property
    def next_begin_s(self) -> float:
        return float(self.step_end_s[-1] + (self.checkpoint_s[-1] + self.validation_s[-1]))

    def pauses(self) -> Iterator[Span]:
        """The pauses between steps of the block, in order."""
        for offset in np.flatnonzero(self.validation_s + self.checkpoint_s):
            begin_s = float(self.step_end_s[offset])
            lengths_s: dict[Phase, Floats] = {"validation": self.validation_s, "checkpoint": self.checkpoint_s}
            for phase, length_s in lengths_s.items():
                if length_s[offset]:
                    end_s = begin_s + float(length_s[offset])
                    yield Span(phase, begin_s, end_s)
                    begin_s = end_s


class Timeline:
    """Maps steps to seconds and back. ``seconds_of`` gives the step times of consecutive steps."""

    def __init__(
        self,
        calendar: Calendar,
        seconds_of: Callable[[Steps], Floats],
        checkpoint_s: Callable[[int], float],
        validation_s: float,
        export_s: float = 0.0,
        startup_s: float = inf,
    ) -> None:
        self.calendar = calendar
        self._seconds_of = seconds_of
        self._checkpoint_s = checkpoint_s
        self._validation_s = validation_s
        self._export_s = export_s
        self._startup_s = startup_s
        self._begins = [0.0]
        self._pauses: dict[int, list[Span]] = {}
        self._latest: dict[int, BlockTimes] = {}
        """The two latest blocks."""

    def block(self, index: int) -> BlockTimes:
        """Times of the BLOCK steps from index * BLOCK on."""
        while len(self._begins) <= index:
            last = len(self._begins) - 1
            self._begins.append(self._cached(last).next_begin_s)
        return self._cached(index)

    def _cached(self, index: int) -> BlockTimes:
        times = self._latest.get(index)
        if times is None:
            times = self._compute(index)
            self._latest = dict([*self._latest.items()][-1:]) | {index: times}
        return times

    def _compute(self, index: int) -> BlockTimes:
        steps = np.arange(index * BLOCK, (index + 1) * BLOCK)
        step_s = self._seconds_of(steps)
        checkpoint_s = np.zeros(BLOCK)
        for offset in np.flatnonzero(self.calendar.saves_after(steps)):
            checkpoint_s[offset] = self._checkpoint_s(int(steps[offset]))
        validation_s = np.where(self.calendar.validates_after(steps), self._validation_s, 0.0)
        pauses = np.concatenate(([0.0], (checkpoint_s + validation_s)[:-1]))
        step_end_s = np.cumsum(np.concatenate(([self._begins[index]], step_s + pauses)))[1:]
        times = BlockTimes(self._begins[index], step_s, step_end_s, checkpoint_s, validation_s)
        self._pauses[index] = list(times.pauses())
        return times

    def step_end_s(self, step: int) -> float:
        return float(self.block(step // BLOCK).step_end_s[step % BLOCK])

    def end_s(self) -> float:
        """Second at which the last step's validation and checkpoint are done."""
        last = self.calendar.total_steps - 1
        times, offset = self.block(last // BLOCK), last % BLOCK
        return float(times.step_end_s[offset] + times.checkpoint_s[offset] + times.validation_s[offset])

    def _block_at(self, second: float) -> int:
        """The block that holds this second; the first or the last block for a second outside all."""
        index = max(bisect_right(self._begins, second) - 1, 0)
        while index + 1 >= len(self._begins) and index < self._last_block and self.block(index).next_begin_s <= second:
            index += 1
        return index

    @property
    def _last_block(self) -> int:
        return (self.calendar.total_steps - 1) // BLOCK

    def step_at(self, second: float) -> int:
        """The step that is under way at this second; the first or the last step for a second outside all."""
        index = self._block_at(second)
        ended = int(np.searchsorted(self.block(index).step_end_s, second, side="right"))
        return min(index * BLOCK + ended, self.calendar.total_steps - 1)

    def phase_at(self, second: float) -> Phase:
        """The phase at this second."""
        if second < 0:
            return "startup" if second >= -self._startup_s else "idle"
        index = self._block_at(second)
        times = self.block(index)
        if times.next_begin_s <= second:
            return self._after_all(second)
        # The last step that has ended; before the block's first end, its first step is under way.
        offset = int(np.searchsorted(times.step_end_s, second, side="right")) - 1
        if offset < 0:
            return "step"
        since = second - times.step_end_s[offset]
        if since < times.validation_s[offset]:
            return "validation"
        if since < times.validation_s[offset] + times.checkpoint_s[offset]:
            return "checkpoint"
        return self._after_all(second) if index * BLOCK + offset >= self.calendar.total_steps - 1 else "step"

    def look_into(self, phase: Phase, step: int) -> float | None:
        """A second shortly after the beginning of the phase that follows ``step``; None if no such phase does.

        For the start-up, which comes after step -1, it is a second shortly before its end.
        """
        if step < 0 or phase == "startup":
            return -min(LOOK_AFTER_S, self._startup_s / 2) if (step, phase) == (-1, "startup") else None
        if phase == "export":
            begin_s, length_s = self.end_s(), self._export_s if step == self.calendar.total_steps - 1 else 0.0
        else:
            times, offset = self.block(step // BLOCK), step % BLOCK
            begin_s, length_s = float(times.step_end_s[offset]), float(times.validation_s[offset])
            if phase == "checkpoint":
                begin_s, length_s = begin_s + length_s, float(times.checkpoint_s[offset])
        return begin_s + min(LOOK_AFTER_S, length_s / 2) if length_s else None

    def spans(self, begin_s: float, end_s: float) -> list[Span]:
        """The phases from ``begin_s`` to ``end_s`` in order and without gaps; consecutive steps are one span."""
        after_s = self.end_s() if self._block_at(end_s) == self._last_block else inf
        export_end_s = after_s + self._export_s
        fixed = [
            Span("idle", -inf, -self._startup_s), Span("startup", -self._startup_s, 0.0),
            *self._pauses_between(begin_s, end_s),
            Span("export", after_s, export_end_s), Span("idle", export_end_s, inf),
        ]  # fmt: skip
        found, reached_s = [], begin_s
        for span in fixed:
            span_begin_s, span_end_s = max(span.begin_s, reached_s), min(span.end_s, end_s)
            if span_end_s <= span_begin_s:
                continue
            if span_begin_s > reached_s:
                found.append(Span("step", reached_s, span_begin_s))
            found.append(Span(span.phase, span_begin_s, span_end_s))
            reached_s = span_end_s
        if reached_s < end_s:
            found.append(Span("step", reached_s, end_s))
        return found

    def _pauses_between(self, begin_s: float, end_s: float) -> Iterator[Span]:
        for index in range(self._block_at(begin_s), self._block_at(end_s) + 1):
            if index not in self._pauses:
                self.block(index)
            yield from self._pauses[index]

    def _after_all(self, second: float) -> Phase:
        return "export" if second < self.end_s() + self._export_s else "idle"
