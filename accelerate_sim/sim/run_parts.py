"""Builds the parts of a run, each of which computes one kind of figure: curves, step times, GPUs, storage, timeline."""

from functools import cached_property

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.curves.grad_norm import GradNormCurve
from accelerate_sim.sim.curves.load_balance import LoadBalance
from accelerate_sim.sim.curves.loss import LossCurve
from accelerate_sim.sim.curves.rounding import Printed
from accelerate_sim.sim.curves.texts import Texts
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
from accelerate_sim.sim.timeline import Calendar, Timeline

FABRIC_BYTES_PER_S = 200e9 / 8
"""Bytes/s of network per GPU from which a cluster counts as built for training, not as shared by many jobs."""
LAUNCH_SHARE = 0.15
"""Share of host wait above which step times take the launch-bound noise model."""


class RunParts(Plan):
    """The plan of a run, and the parts that compute its figures. Each part is built when it is first needed."""

    # --- What happens once ----------------------------------------------------------------------

    @cached_property
    def storage(self) -> Storage:
        return Storage.of(self.noise_seed, self.layout.nodes, self.config.cluster.storage_gbytes_per_s)

    def checkpoint_seconds(self, step: int) -> float:
        """Time to write the checkpoint after this step."""
        return self.storage.seconds(self.checkpoint_bytes, "checkpoint", step)

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
            texts=Texts.of(self.dataset), retokenized=self.tokenizer_name != self.model.tokenizer,
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
