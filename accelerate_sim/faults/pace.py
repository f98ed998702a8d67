"""``Pace``: the times of one attempt, which are the run's timeline, later by its restarts and its slow steps.

Steps count from 1 here. Seconds count from the first step of the run's first attempt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.sim.timeline import BLOCK, BlockTimes, Timeline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from accelerate_sim.faults.occurrence import Occurrence

BLOCKS_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Slow:
    """Steps, and the checkpoints after them, that take longer by these shares at full strength."""

    first: int
    last: int
    ramp_steps: int
    share: float
    saving: float = 0.0

    @classmethod
    def by(cls, strike: Occurrence) -> _Slow:
        kind = KINDS[strike.fault.kind]
        shares = [each(strike) - 1.0 if each else 0.0 for each in (kind.pace, kind.saving)]
        return cls(strike.step, strike.last_step, strike.ramp_steps, *shares)

    def strength(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of the full strength at each step."""
        strength = np.clip((steps - self.first + 1) / (self.ramp_steps + 1), 0.0, 1.0)
        return np.asarray(strength * ((steps >= self.first) & (steps <= self.last)))

    def touches(self, index: int) -> bool:
        """True if it slows steps of this block."""
        return self.first <= (index + 1) * BLOCK and self.last > index * BLOCK

    def excess(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share by which each step takes longer."""
        return np.asarray(self.share * self.strength(steps))

    def saving_excess(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share by which the checkpoint after each step takes longer."""
        return np.asarray(self.saving * self.strength(steps))


def _steps_of(index: int) -> NDArray[np.int64]:
    """The steps of a block."""
    return np.arange(index * BLOCK + 1, (index + 1) * BLOCK + 1)


class Pace:
    """Maps the steps of an attempt to seconds and back."""

    def __init__(
        self, timeline: Timeline, first_step: int, begin_s: float, blocks: dict[int, BlockTimes] | None = None
    ) -> None:
        """The attempt goes on after ``first_step`` steps, at ``begin_s``; ``blocks`` is a cache that paces share."""
        self.timeline = timeline
        self.first_step = first_step
        self._blocks = {} if blocks is None else blocks
        self.offset_s = 0.0
        """Seconds by which the attempt is later than the timeline, its slow steps aside."""
        self.offset_s = begin_s - self.base_after_s(first_step)
        self.slow: list[_Slow] = []
        self._extra: dict[int, NDArray[np.float64]] = {}
        """Extra seconds of the steps of a block up to each, those of earlier blocks included."""
        self._excess: dict[int, NDArray[np.float64]] = {}
        """Shares by which the steps of a block take longer, of all that slow them."""
        self._saving: dict[int, NDArray[np.float64]] = {}
        """Shares by which the checkpoints after the steps of a block take longer."""
        self._saves_slowly = False
        self._first, self._last = 10**18, 0
        """The first and the last step that anything slows."""

    def slow_down(self, strikes: Sequence[Occurrence]) -> None:
        """Let strikes whose kind has a pace slow the steps that they affect, and those of a storage its checkpoints."""
        for strike in strikes:
            kind = KINDS[strike.fault.kind]
            if (kind.pace or kind.saving) and strike.last_step >= strike.step:
                slow = _Slow.by(strike)
                self.slow.append(slow)
                self._first, self._last = min(self._first, slow.first), max(self._last, slow.last)
                for index, excess in self._excess.items():
                    if slow.touches(index):
                        np.maximum(excess, slow.excess(_steps_of(index)), out=excess)
                for index, excess in self._saving.items() if slow.saving else ():
                    if slow.touches(index):
                        np.maximum(excess, slow.saving_excess(_steps_of(index)), out=excess)
                self._saves_slowly = self._saves_slowly or slow.saving > 0.0
                for index in [each for each in self._extra if each >= (strike.step - 1) // BLOCK]:
                    del self._extra[index]

    def last_until(self, strike: Occurrence) -> int:
        """The last step that a strike affects which slows the steps down and ends at a second."""
        slower = _Slow.by(strike)
        step, second = strike.step, strike.second
        while second < strike.end_s:
            times, offset = self.block((step - 1) // BLOCK), (step - 1) % BLOCK
            steps = np.arange(step, step - offset + BLOCK)
            pauses = times.validation_s[offset:] + times.checkpoint_s[offset:]
            factors = np.maximum(self.factors(steps), 1.0 + slower.excess(steps))
            ends = second + np.cumsum(times.step_s[offset:] * factors + pauses)
            ended = int(np.searchsorted(ends, strike.end_s))
            if ended < len(ends) or step > self.timeline.calendar.total_steps:
                return step + min(ended, len(ends) - 1)
            step, second = int(steps[-1]) + 1, float(ends[-1])
        return max(step - 1, strike.step)

    # --- Steps to seconds -----------------------------------------------------------------------

    def block(self, index: int) -> BlockTimes:
        """The block of the timeline; the latest ones are kept."""
        if index not in self._blocks:
            if len(self._blocks) >= BLOCKS_KEPT:
                self._blocks.clear()
            self._blocks[index] = self.timeline.block(index)
        return self._blocks[index]

    def base_after_s(self, step: int) -> float:
        """Second of the timeline after ``step`` steps, with the validation and the checkpoint that follow."""
        if step <= 0:
            return 0.0
        times, offset = self.block((step - 1) // BLOCK), (step - 1) % BLOCK
        return float(times.step_end_s[offset] + (times.validation_s[offset] + times.checkpoint_s[offset]))

    def factors(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Time of each of consecutive steps over its usual one: all wait for the slowest."""
        first, last = int(steps[0]) - 1, int(steps[-1]) - 1
        blocks = range(first // BLOCK, last // BLOCK + 1)
        excess = np.concatenate([self._excess_in(index) for index in blocks])
        return 1.0 + excess[first - blocks.start * BLOCK : last - blocks.start * BLOCK + 1]

    def _excess_in(self, index: int) -> NDArray[np.float64]:
        """Shares by which the steps of a block take longer."""
        if index not in self._excess:
            excess = np.zeros(BLOCK)
            for slow in self.slow:
                if slow.touches(index):
                    excess = np.maximum(excess, slow.excess(_steps_of(index)))
            self._excess[index] = excess
        return self._excess[index]

    def saving_factor(self, step: int) -> float:
        """Time of the checkpoint after a step over its usual one."""
        return 1.0 + float(self._saving_in((step - 1) // BLOCK)[(step - 1) % BLOCK])

    def _saving_in(self, index: int) -> NDArray[np.float64]:
        """Shares by which the checkpoints after the steps of a block take longer."""
        if index not in self._saving:
            excess = np.zeros(BLOCK)
            for slow in self.slow:
                if slow.saving and slow.touches(index):
                    excess = np.maximum(excess, slow.saving_excess(_steps_of(index)))
            self._saving[index] = excess
        return self._saving[index]

    def _pauses_s(self, index: int) -> NDArray[np.float64]:
        """Extra seconds of the checkpoints before the steps of a block."""
        pauses_s = self.block(index).checkpoint_s[:-1] * self._saving_in(index)[:-1]
        before = self.block(index - 1).checkpoint_s[-1:] * self._saving_in(index - 1)[-1:] if index else np.zeros(1)
        return np.concatenate([before, pauses_s])

    def extra_s(self, step: int) -> float:
        """Seconds that slow steps, and slow checkpoints before ``step``, have cost when it ends."""
        if not self.slow:
            return 0.0
        first = self._first
        step = min(step, self._last + 1)
        if step < first:
            return 0.0
        index, begin = (step - 1) // BLOCK, (first - 1) // BLOCK
        known = index
        while known >= begin and known not in self._extra:
            known -= 1
        for each in range(known + 1, index + 1):
            before = float(self._extra[each - 1][-1]) if each > begin else 0.0
            steps = np.arange(each * BLOCK + 1, (each + 1) * BLOCK + 1)
            more_s = self.block(each).step_s * (self.factors(steps) - 1.0)
            if self._saves_slowly:
                more_s = more_s + self._pauses_s(each)
            self._extra[each] = before + np.cumsum(more_s)
        return float(self._extra[index][(step - 1) % BLOCK])

    def shift_s(self, step: int) -> float:
        """Seconds by which the end of ``step`` is later than in the timeline."""
        return self.offset_s + self.extra_s(step)

    def begin_s(self, step: int) -> float:
        """Second at which a step begins, the validation and the checkpoint before it being over."""
        return self.base_after_s(step - 1) + self.shift_s(step - 1) + self._last_pause_s(step)

    def _last_pause_s(self, step: int) -> float:
        """Extra seconds of the checkpoint before a step."""
        if step <= 1 or not self._saves_slowly:
            return 0.0
        checkpoint_s = float(self.block((step - 2) // BLOCK).checkpoint_s[(step - 2) % BLOCK])
        return checkpoint_s * (self.saving_factor(step - 1) - 1.0)

    def end_s(self, step: int) -> float:
        """Second at which a step ends."""
        times = self.block((step - 1) // BLOCK)
        return float(times.step_end_s[(step - 1) % BLOCK]) + self.shift_s(step)

    # --- Seconds to steps -----------------------------------------------------------------------

    def step_at(self, second: float) -> int:
        """The step that is under way, or that begins after the pause that is; the attempt's first one before it."""
        if not self.slow:
            return max(self.timeline.step_at(second - self.offset_s) + 1, self.first_step + 1)
        low, high = self.first_step + 1, max(self.timeline.calendar.total_steps, self.first_step + 1)
        step = low + max(bisect_right(range(low, high + 1), second, key=self.begin_s) - 1, 0)
        return step + 1 if step < high and second > self.end_s(step) else step
