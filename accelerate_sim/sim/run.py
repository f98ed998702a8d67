"""Computes every figure of every step of a run on demand.

Everything that the program shows or writes comes from here. Steps count from 0 in the physics, and from 1 in records.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.curves.schedule import learning_rate
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.run_parts import RunParts
from accelerate_sim.sim.step_figures import FaultFacts, LossScaling, StepBlock, StepTiming
from accelerate_sim.sim.timeline import BLOCK

if TYPE_CHECKING:
    from accelerate_sim.gpu_condition import Condition

BLOCKS_SAMPLED = 16
"""Blocks that are averaged to estimate a whole run."""
MICRO_LOSSES_KEPT = 16384
"""Number of micro-batch losses that are computed together."""


class Run(RunParts):
    """One run: the plan, and every figure of every step."""

    def __init__(self, config: RunConfig, number: int = 1) -> None:
        super().__init__(config, number)
        self._blocks: dict[int, StepBlock] = {}
        self._micro: tuple[tuple[int, int], Floats] | None = None
        self._timing: tuple[StepBlock, int, StepTiming] | None = None

    @classmethod
    def of(cls, plan: Plan) -> "Run":
        """The run of a plan, with everything that the plan has computed so far."""
        if isinstance(plan, Run):
            return plan
        run = cls(plan.config, plan.number)
        run.__dict__.update(plan.__dict__)
        return run

    # --- Faults ---------------------------------------------------------------------------------

    @property
    def fault_facts(self) -> FaultFacts | None:
        """The attempt of a run in which faults happen; None for any other run."""
        return None

    def loss_scaling(self, step: int) -> LossScaling | None:
        """The scale of the loss after a step of a run in which an overflow is played; None for any other run."""
        return None

    def step_end_s(self, step: int) -> float:
        """Second at which a step ends, counted from the first step of the run."""
        return self.timeline.step_end_s(step)

    def elapsed_s(self, timeline_s: float, step: int) -> float:
        """Second after the first step of the run at which, around ``step``, the timeline is at ``timeline_s``."""
        return timeline_s

    def timeline_s(self, elapsed_s: float, step: int) -> float:
        """Second of the timeline, which has no restarts, at a second after the first step of the run."""
        return elapsed_s

    def step_at(self, elapsed_s: float) -> int:
        """The step that is under way, from 0, at a second after the first step of the run."""
        return self.timeline.step_at(elapsed_s)

    def is_halted(self, elapsed_s: float) -> bool:
        """True from the second on at which a fault has stopped the training, until the job has ended."""
        return False

    def late_batches_s(self, step: int, ranks: Sequence[int]) -> Floats:
        """Seconds for which each of ``ranks`` waits longer for the batches of a step than usual, as a fault lasts."""
        return np.zeros(len(ranks))

    def conditions(self, elapsed_s: float) -> "Mapping[int, Condition]":
        """The condition of each rank's GPU that is not healthy, at a second after the first step of the run."""
        return {}

    # --- Figures of a step ----------------------------------------------------------------------

    def block_of(self, step: int) -> StepBlock:
        """The block of this step. The two latest are cached: a step also needs the learning rate of the next."""
        index = step // BLOCK
        block = self._blocks.get(index)
        if block is None:
            block = self._compute_block(index)
            self._blocks = dict([*self._blocks.items()][-1:]) | {index: block}
        return block

    def _compute_block(self, index: int) -> StepBlock:
        steps = np.arange(index * BLOCK, (index + 1) * BLOCK)
        times = self.timeline.block(index)
        residual, excess = self.loss.residual(steps), self.loss.norm_log_excess(steps)
        norm = self.printed.norm(self.grad_norm.values(steps, residual, excess, self.loss.batch.mix(steps)))
        rate = learning_rate(self.config.train, self.total_steps, steps)
        balance = self.load_balance.values(steps) if self.load_balance else None
        loss = self.printed.loss(self.loss.train(steps, residual))
        return StepBlock(index, loss, norm, rate, times.step_s, times.step_end_s, balance)

    def micro_losses(self, step: int) -> Floats:
        """Losses of a step's micro-batches, [micro_batches, replicas]; their mean is the step's loss."""
        layout, accumulation = self.layout, self.accumulation(step)
        # Several steps are computed at once, as memory allows; the numbers do not depend on how many.
        together = max(1, min(BLOCK, MICRO_LOSSES_KEPT // (layout.data * layout.accumulation)))
        first = step - step % together
        key = first, accumulation
        if self._micro is None or self._micro[0] != key:
            steps = np.arange(first, first + together)
            loss = np.array([self.block_of(int(each)).loss[each % BLOCK] for each in steps])
            deviation = self.loss.micro_deviation(steps, layout.data, accumulation)
            self._micro = key, loss[:, None, None] + deviation
        return np.asarray(self._micro[1][step - first])

    def loss_at(self, step: int) -> float:
        """Training loss of this step."""
        return float(self.block_of(step).loss[step % BLOCK])

    def lr(self, step: int) -> float:
        """Learning rate of this step."""
        return float(self.block_of(step).lr[step % BLOCK])

    def grad_norm_at(self, step: int) -> float:
        """Norm of the step's gradients before clipping."""
        return float(self.block_of(step).grad_norm[step % BLOCK])

    def load_balancing_loss(self, step: int) -> float | None:
        """The router's loss at this step, 1 where experts are even; None for a model without experts."""
        balance = self.block_of(step).load_balancing_loss
        return None if balance is None else round(float(balance[step % BLOCK]), 6)

    def timing(self, step: int) -> StepTiming:
        """Times and rates of a step; those of the latest step that was asked for are cached."""
        block, offset = self.block_of(step), step % BLOCK
        if self._timing is not None and self._timing[0] is block and self._timing[1] == offset:
            return self._timing[2]
        seconds = float(block.step_s[offset])
        tokens_per_s = self.tokens_of(step) / seconds
        timing = StepTiming(
            seconds, round(float(block.step_end_s[offset]), 6), round(tokens_per_s, 4), round(self.mfu(tokens_per_s), 8)
        )
        self._timing = block, offset, timing
        return timing

    def energy_j(self, steps_j: float, checkpoint_s: float, validation_s: float, other_s: float) -> float:
        """Joules of all GPUs in phases of these lengths, and in steps in which a mean GPU has spent ``steps_j``."""
        power = self.telemetry.mean_power_w
        per_gpu = (
            steps_j + power("checkpoint") * checkpoint_s
            + power("validation") * validation_s + power("startup") * other_s
        )  # fmt: skip
        return per_gpu * self.layout.world_size

    def likely_s(self, steps: int) -> float:
        """Likely time of the first ``steps`` steps, with a slow first step, late steps, drifts and slow GPUs.

        In a long run, sampled blocks stand for those between them; the first block is always computed.
        """
        last = -(-steps // BLOCK) - 1
        sampled = sorted({round(last * part / (BLOCKS_SAMPLED - 1)) for part in range(BLOCKS_SAMPLED)})
        took = planned = first_s = 0.0
        for index in sampled:
            begin, end = index * BLOCK, min((index + 1) * BLOCK, steps)
            seconds = float(self.step_times.seconds(np.arange(begin, end)).sum())
            if index == 0:
                first_s = seconds
            else:
                took += seconds
                planned += self.expected_s(end) - self.expected_s(begin)
        if last == 0:
            return first_s
        return first_s + took / planned * (self.expected_s(steps) - self.expected_s(BLOCK))

    def expected_steps_j(self, steps: int) -> float:
        """Expected joules of a mean GPU in the first ``steps`` steps, undisturbed."""
        stages, power = self.batches.stages, self.telemetry.mean_step_power_w
        return sum(
            count * self.stage_step_s(number) * power(stages[number].first_step)
            for number, count in enumerate(self.batches.steps_in(steps))
            if count
        )
