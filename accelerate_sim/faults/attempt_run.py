"""``AttemptRun``: the figures of a run in one attempt: later by its restarts, and changed by the faults that last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.faults.attempt_telemetry import AttemptTelemetry
from accelerate_sim.faults.conditions import Conditions
from accelerate_sim.faults.consequences import FaultyFigures
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.pace import Pace
from accelerate_sim.sim.gpus.telemetry import Telemetry
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.step_figures import FaultFacts, LossScaling, StepBlock
from accelerate_sim.sim.timeline import BLOCK

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Attempt, Occurrence
    from accelerate_sim.gpu_condition import Condition
    from accelerate_sim.sim.plan import Plan

JUST_AFTER_S = 1e-6
"""Seconds after a strike at which its effects are there; above the rounding of a time of years."""
FIRST_SCALE = 65536.0
"""Scale of an fp16 loss before its first overflow, as of torch's and DeepSpeed's scalers."""


class AttemptRun(Run):
    """A run in one attempt of a job. Times of the timeline become later; it stays the same for the physics."""

    attempt: Attempt
    pace: Pace
    facts: FaultFacts
    is_faulty: bool
    """False as long as no fault was planned or asked for: its files are those of a run that takes none."""
    _conditions: Conditions
    _telemetry: Telemetry | None
    scalings: Sequence[Occurrence] | None = None
    """Strikes that change the scale of the loss, in this attempt and before its checkpoint; None: none does."""

    @classmethod
    def of_attempt(cls, plan: Plan, attempt: Attempt, earlier: Sequence[Attempt]) -> AttemptRun:
        """The run of a plan in an attempt; ``earlier`` are those before it."""
        base = Run.of(plan)
        run = cls(base.config, base.number)
        run.__dict__.update(base.__dict__)
        run.__dict__["timeline"] = base.timeline  # which asks the base run for the times of its checkpoints
        run.take_over(attempt, earlier)
        return run

    def take_over(self, attempt: Attempt, earlier: Sequence[Attempt]) -> None:
        """Compute the figures of this attempt from now on."""
        self._blocks, self._micro = {}, None
        self.attempt = attempt
        self.pace = Pace(self.timeline, attempt.first_step, attempt.begin_s)
        self.pace.slow_down([*attempt.carried, *attempt.occurrences])
        firsts = [each.first_step for each in (*earlier[1:], attempt)] if earlier else []
        lost = [self.tokens_before(each.completed) - self.tokens_before(first)
                for each, first in zip(earlier, firsts, strict=True)]  # fmt: skip
        steps = [each.completed - first for each, first in zip(earlier, firsts, strict=True)]
        self._conditions, self._telemetry = Conditions([*earlier, attempt]), None
        self.facts = FaultFacts(attempt.number, sum(steps), sum(lost))
        self.is_faulty = bool(attempt.number or attempt.occurrences or self.config.faults.happen)
        past = [strike for each in earlier for strike in each.occurrences]
        scalings = [strike for strike in (*past, *attempt.occurrences) if KINDS[strike.fault.kind].loss_scale]
        if scalings:
            first, number = attempt.first_step, attempt.number
            self.scalings = [strike for strike in scalings if strike.attempt == number or strike.step <= first]

    @property
    def fault_facts(self) -> FaultFacts | None:
        return self.facts if self.is_faulty else None

    @property
    def start_s(self) -> float:
        """Second at which the processes of the attempt start, counted from the first step of the run."""
        return self.attempt.start_s

    def step_end_s(self, step: int) -> float:
        return self.timeline.step_end_s(step) + self.pace.shift_s(step + 1)

    def elapsed_s(self, timeline_s: float, step: int) -> float:
        return timeline_s + self.pace.shift_s(step + 1)

    def timeline_s(self, elapsed_s: float, step: int) -> float:
        if elapsed_s < self.attempt.begin_s:
            return elapsed_s - self.attempt.begin_s  # the start-up of each attempt is that of the run
        if self.is_halted(elapsed_s) and self.attempt.ended_by:
            elapsed_s = self.attempt.ended_by.second + JUST_AFTER_S
        return elapsed_s - self.pace.shift_s(step + 1)

    def step_at(self, elapsed_s: float) -> int:
        return self.pace.step_at(elapsed_s) - 1

    def is_halted(self, elapsed_s: float) -> bool:
        ended_by = self.attempt.ended_by
        return ended_by is not None and elapsed_s > ended_by.second

    def conditions(self, elapsed_s: float) -> Mapping[int, Condition]:
        return self._conditions.at(elapsed_s)

    @property
    def telemetry(self) -> Telemetry:
        """The GPUs with what is wrong with them."""
        if self._telemetry is None:
            self._telemetry = AttemptTelemetry.over(
                super().telemetry, self._conditions_in_timeline, self._is_halted_in_timeline
            )
        return self._telemetry

    def _conditions_in_timeline(self, second: float, step: int) -> Mapping[int, Condition]:
        return self.conditions(self._elapsed_in_attempt_s(second, step))

    def _is_halted_in_timeline(self, second: float, step: int) -> bool:
        return self.is_halted(self._elapsed_in_attempt_s(second, step))

    def _elapsed_in_attempt_s(self, second: float, step: int) -> float:
        return second + self.attempt.begin_s if second < 0 else self.elapsed_s(second, step)

    def _compute_block(self, index: int) -> StepBlock:
        block = super()._compute_block(index)
        numbers = np.arange(index * BLOCK + 1, (index + 1) * BLOCK + 1)
        step_s, end_s = block.step_s * self.pace.factors(numbers), block.step_end_s
        shift = np.array([self.pace.shift_s(int(number)) for number in numbers])
        figures = FaultyFigures(numbers, block.loss, block.grad_norm)
        for strike in self._lasting(int(numbers[0]), int(numbers[-1])):
            change = KINDS[strike.fault.kind].figures
            figures = change(strike, figures) if change else figures
        return replace(block, step_s=step_s, step_end_s=end_s + shift, loss=figures.loss, grad_norm=figures.grad_norm)

    def checkpoint_seconds(self, step: int) -> float:
        return super().checkpoint_seconds(step) * self.pace.saving_factor(step + 1)

    def micro_losses(self, step: int) -> Floats:
        losses = super().micro_losses(step)
        for strike in self._lasting(step + 1, step + 1):
            if change := KINDS[strike.fault.kind].micro_losses:
                losses = change(strike, step + 1, losses)
        return losses

    def late_batches_s(self, step: int, ranks: Sequence[int]) -> Floats:
        waits_s = super().late_batches_s(step, ranks)
        for strike in self._lasting(step + 1, step + 1):
            if late_s := KINDS[strike.fault.kind].late_batches_s:
                waits_s = np.maximum(waits_s, late_s(strike, step + 1) * np.isin(ranks, strike.hit.ranks))
        return waits_s

    def loss_scaling(self, step: int) -> LossScaling | None:
        if self.scalings is None:
            return None
        scale, skipped = FIRST_SCALE, False
        for strike in self.scalings:
            factor = KINDS[strike.fault.kind].loss_scale
            assert factor
            scale *= factor(strike, step + 1)
            skipped = skipped or strike.strength(step + 1) > 0.0
        return LossScaling(scale, skipped)

    def _lasting(self, first: int, last: int) -> list[Occurrence]:
        """Strikes that affect steps between these two, which are counted in."""
        strikes = (*self.attempt.carried, *self.attempt.occurrences)
        return [strike for strike in strikes if strike.step <= last and strike.last_step >= first]
