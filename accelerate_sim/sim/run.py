"""Computes every figure of every step of a run on demand.

Everything that the program shows or writes comes from here. Steps count from 0 in the physics, and from 1 in records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.curves.grad_norm import GradNormCurve
from accelerate_sim.sim.curves.load_balance import LoadBalance
from accelerate_sim.sim.curves.loss import LossCurve
from accelerate_sim.sim.curves.rounding import Printed
from accelerate_sim.sim.curves.schedule import learning_rate
from accelerate_sim.sim.disturbances.incidents import Incidents
from accelerate_sim.sim.disturbances.step_habits import Machines, Work
from accelerate_sim.sim.disturbances.step_time import StepTimes
from accelerate_sim.sim.gpus.activity import VALIDATION_OVER_STEP, WELL_TUNED_SHARE, Activity, drawn_w
from accelerate_sim.sim.gpus.chips import Chips
from accelerate_sim.sim.gpus.telemetry import Telemetry
from accelerate_sim.sim.memory.filling import MemoryFilling
from accelerate_sim.sim.memory.memory import memory_use
from accelerate_sim.sim.noise import Floats, Steps
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.speed.communication import Communication
from accelerate_sim.sim.startup import ExportTimes, StartUp
from accelerate_sim.sim.storage import Storage
from accelerate_sim.sim.timeline import BLOCK, Calendar, Timeline

if TYPE_CHECKING:
    from accelerate_sim.gpu_condition import Condition

FABRIC_BYTES_PER_S = 200e9 / 8
"""Bytes/s of network per GPU from which a cluster counts as built for training, not as shared by many jobs."""
BLOCKS_SAMPLED = 16
"""Blocks that are averaged to estimate a whole run."""
LAUNCH_SHARE = 0.15
"""Share of host wait above which step times take the launch-bound noise model."""
MICRO_LOSSES_KEPT = 16384
"""Number of micro-batch losses that are computed together."""


@dataclass(frozen=True)
class StepBlock:
    """Figures of BLOCK consecutive steps; arrays over the steps."""

    index: int
    loss: Floats
    grad_norm: Floats
    lr: Floats
    step_s: Floats
    step_end_s: Floats
    load_balancing_loss: Floats | None
    """None for a model without experts."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Time of a step, and the rates that follow from it."""

    seconds: float
    end_s: float
    """Seconds from the beginning of the first step to the end of this one."""
    tokens_per_s: float
    mfu: float


@dataclass(frozen=True, slots=True)
class FaultFacts:
    """The attempt that a run with faults is in, and the work that earlier ones have lost."""

    attempt: int
    """From 0."""
    lost_steps: int = 0
    lost_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LossScaling:
    """The scale of an fp16 loss after a step."""

    scale: float
    skipped: bool
    """True if gradients overflowed, so that the optimizer left the weights as they were."""


class Run(Plan):
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
        """Second of the timeline, which knows of no restart, at a second after the first step of the run."""
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

    # --- What happens once ----------------------------------------------------------------------

    @cached_property
    def storage(self) -> Storage:
        return Storage.of(self.noise_seed, self.layout.nodes, self.config.cluster.storage_gbytes_per_s)

    @cached_property
    def startup(self) -> StartUp:
        return StartUp.of(self.noise_seed, self.model.architecture, self.dataset, self.layout.world_size, self.storage)

    @cached_property
    def export_times(self) -> ExportTimes:
        return ExportTimes.of(self.noise_seed, self.model.architecture, self.storage)

    # --- The curves -----------------------------------------------------------------------------

    @cached_property
    def shape_seed(self) -> int:
        """Seed of the noise that reruns of one model on one dataset share."""
        return noise.seed_of(self.model.name, self.dataset.name, self.config.train.start)

    @cached_property
    def data_seed(self) -> int:
        """Seed of the order of texts, which is the same on another cluster."""
        ramp = [stage.first_sequence for stage in self.batches.stages[1:]]
        return noise.seed_of(self.seed, self.dataset.name, self.layout.tokens_per_step, *ramp)

    @cached_property
    def loss(self) -> LossCurve:
        spec = self.model.architecture
        return LossCurve.of(
            self.config, self.data_seed, self.shape_seed, spec.vocab, spec.active_parameters, self.total_steps,
            retokenized=self.tokenizer_name != self.model.tokenizer,
        )  # fmt: skip

    @cached_property
    def grad_norm(self) -> GradNormCurve:
        active = self.model.architecture.active_parameters
        return GradNormCurve.of(self.config.train, self.data_seed, self.shape_seed, self.total_steps, active)

    @cached_property
    def load_balance(self) -> LoadBalance | None:
        """The load-balancing loss of a mixture of experts; None for other models."""
        architecture = self.model.architecture
        if architecture.moe is None:
            return None
        return LoadBalance.of(
            self.config.train, self.data_seed, self.shape_seed, self.total_steps, architecture.active_parameters
        )

    @cached_property
    def printed(self) -> Printed:
        return Printed.of(self.noise_seed)

    @cached_property
    def incidents(self) -> Incidents:
        share = self.memory_per_gpu_bytes / self.gpu.memory_bytes
        return Incidents(self.noise_seed, self.layout.world_size, share, self.mean_step_s)

    @cached_property
    def communication(self) -> Communication:
        return Communication(self.noise_seed, self.model.architecture, self.layout, self.network)

    @cached_property
    def chips(self) -> Chips:
        return Chips.of(self.noise_seed, self.gpu, self.layout, self.config.cluster.ambient_c)

    def activity(self, stage: int) -> Activity:
        """Activity of the GPUs in a mean step of this stage of the batch's ramp."""
        micro_batches = self.accumulation(self.batches.stages[stage].first_step)
        return Activity.of_step(self.throughput, micro_batches, self.stage_parts(stage))

    @cached_property
    def validation_activity(self) -> Activity:
        return Activity.of_validation(self.throughput, self.evaluation_batch_s)

    def power_share(self, stage: int) -> float:
        """Power in steps of this stage of the batch's ramp, from 0 (a resident context) to 1 (the power limit)."""
        # The GPUs' activity does not follow from an imposed step time, so that of a well-tuned run is taken.
        return WELL_TUNED_SHARE if self.config.impose.step_time_s else self.activity(stage).power_share

    @property
    def validation_power_share(self) -> float:
        """Power in validations, from 0 (a resident context) to 1 (the power limit)."""
        if self.config.impose.step_time_s:
            return WELL_TUNED_SHARE * VALIDATION_OVER_STEP
        return self.validation_activity.power_share

    @property
    def compute_share(self) -> float:
        """Share of a step's time that grows with the slowest rank."""
        return (self.step_parts.total - self.step_parts.data_comm) / self.step_parts.total

    @property
    def _work(self) -> Work:
        """Kind of work, which sets the noise of step times. Texts of instructions and conversations are not packed."""
        chats = any(word in self.dataset.domain for word in ("instructions", "conversations", "questions"))
        if chats and self.config.train.start == "finetune":
            return "ragged"
        if self.step_parts.launch > LAUNCH_SHARE * self.step_parts.total:
            return "launched"
        return "even" if self.model.architecture.moe is None else "routed"

    @property
    def _machines(self) -> Machines:
        """Kind of cluster. Fast links between machines, as InfiniBand, belong to clusters that one job has alone."""
        if self.layout.nodes == 1:
            return "one"
        return "fabric" if self.network.nic_bytes_per_s >= FABRIC_BYTES_PER_S else "shared"

    @cached_property
    def step_times(self) -> StepTimes:
        whole = len(self.batches.stages) - 1
        throttling = self.chips.throttling(drawn_w(self.gpu, self.power_share(whole)))
        return StepTimes.of(
            self.noise_seed, self.mean_step_s, self.compute_share, self.incidents, self.config.impose.step_time_s,
            total_steps=self.total_steps, work=self._work,
            machines=self._machines, throttling=throttling,
            work_of=self._ramped_work if len(self.batches.stages) > 1 else None,
        )  # fmt: skip

    @cached_property
    def timeline(self) -> Timeline:
        return Timeline(
            Calendar.of(self.config, self.last_step),
            self.step_times.seconds,
            self.checkpoint_seconds,
            self.config.eval.batches * self.evaluation_batch_s,
            self.export_times.total,
            self.startup.total,
        )

    def _ramped_work(self, steps: Steps) -> Floats:
        """Work of consecutive steps, over that of a step with the whole global batch."""
        numbers = self.batches.numbers(steps)
        each = {int(stage): self.stage_step_s(int(stage)) for stage in np.unique(numbers)}
        return np.array([each[int(stage)] for stage in numbers]) / self.mean_step_s

    @cached_property
    def telemetry(self) -> Telemetry:
        layout, architecture = self.layout, self.model.architecture
        capacity, stages = self.gpu.memory_bytes, range(layout.pipeline)
        needs = [memory_use(architecture, layout, self.method, stage) for stage in stages]
        uses = [need.within(capacity).squeezed(capacity) for need in needs]
        filling = MemoryFilling(uses, self.startup, self.timeline, self.accumulation(0))
        return Telemetry(
            self.noise_seed, self.chips, layout, self.batches, self.power_share, self.validation_power_share,
            self.compute_share, filling, self.timeline, self.incidents, self.config.impose,
        )  # fmt: skip

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
        leaps = self.loss.instability.norm_log_excess(steps)
        norm = self.printed.norm(self.grad_norm.values(steps, self.loss.residual(steps), leaps))
        rate = learning_rate(self.config.train, self.total_steps, steps)
        balance = self.load_balance.values(steps) if self.load_balance else None
        loss = self.printed.loss(self.loss.train(steps))
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

    def checkpoint_seconds(self, step: int) -> float:
        """Time to write the checkpoint after this step."""
        return self.storage.seconds(self.checkpoint_bytes, "checkpoint", step)

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
