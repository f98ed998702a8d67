"""Computes what follows from a config alone: layout, memory, mean time of a step, file sizes.

It is plain arithmetic without numpy, so that a config can be checked before slower imports.
"""

import dataclasses
import hashlib
from functools import cached_property

from accelerate_sim import catalog
from accelerate_sim.catalog import DatasetSpec, GpuSpec, ModelSpec
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.model import CustomModel
from accelerate_sim.sim import storage
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory.memory import MemoryUse, peak_memory_use
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.speed.network import Network
from accelerate_sim.sim.speed.step_parts import StepParts
from accelerate_sim.sim.speed.throughput import Throughput


class Plan:
    """The plan of a run. ``number`` counts the runs of a session, from 1; each has its own seed."""

    def __init__(self, config: RunConfig, number: int = 1) -> None:
        self.config = config
        self.number = number
        self.seed = config.run.seed + number - 1
        self._parts_of_stage: dict[int, StepParts] = {}

    # --- What is trained, on what ---------------------------------------------------------------

    @cached_property
    def model(self) -> ModelSpec:
        named = self.config.model
        return named.spec() if isinstance(named, CustomModel) else catalog.model(named)

    @cached_property
    def gpu(self) -> GpuSpec:
        cluster = self.config.cluster
        return catalog.with_driver(catalog.gpu(cluster.gpu), cluster.driver)

    @cached_property
    def dataset(self) -> DatasetSpec:
        return catalog.dataset(self.config.data.dataset)

    @cached_property
    def layout(self) -> Layout:
        return Layout.of(self.config, self.gpu)

    @cached_property
    def batches(self) -> BatchSchedule:
        """Sequences of each step; the layout has the whole global batch."""
        return BatchSchedule.of(self.config.train)

    @cached_property
    def method(self) -> Method:
        return Method.of(self.config)

    @cached_property
    def network(self) -> Network:
        return Network.of(self.gpu, self.config.cluster.nic_gbps, self.config.cluster.fabric)

    @property
    def tokenizer_name(self) -> str:
        return self.config.data.tokenizer or self.model.tokenizer

    @cached_property
    def noise_seed(self) -> int:
        """Seed of all noise; it depends on model, dataset, world size and batch, so other runs have other noise."""
        layout = self.layout
        identity = f"{self.seed}/{self.model.name}/{self.dataset.name}/{layout.world_size}/{layout.tokens_per_step}"
        return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=7).digest(), "little")

    # --- What that takes ------------------------------------------------------------------------

    @property
    def total_steps(self) -> int:
        return self.config.train.epochs * self.config.train.steps_per_epoch

    @property
    def last_step(self) -> int:
        """Number of steps that are made; ``max_steps`` lowers it and changes none of the steps."""
        return min(self.total_steps, self.config.train.max_steps or self.total_steps)

    def accumulation(self, step: int) -> int:
        """Micro-batches that one replica takes for this step."""
        return self.batches.batch(step) // self._sequences_together

    @cached_property
    def _sequences_together(self) -> int:
        """Sequences in one micro-batch of all replicas."""
        return self.layout.micro_batch * self.layout.data

    def micro_batches(self, first_step: int, end_step: int) -> int:
        """Micro-batches that one replica takes from ``first_step`` up to ``end_step``, which is not counted."""
        sequences = self.batches.sequences_before(end_step) - self.batches.sequences_before(first_step)
        return sequences // self._sequences_together

    def tokens_of(self, step: int) -> int:
        """Tokens in this step."""
        return self.batches.batch(step) * self.layout.sequence_length

    def tokens_before(self, step: int) -> int:
        """Tokens in all steps before this one."""
        return self.batches.sequences_before(step) * self.layout.sequence_length

    @cached_property
    def flops_per_token(self) -> int:
        """Model FLOPs to train on one token: full attention square, nothing recomputed (PaLM's convention)."""
        return self.model.architecture.flops_per_token(self.layout.sequence_length)

    @cached_property
    def throughput(self) -> Throughput:
        return Throughput(self.model.architecture, self.gpu, self.layout, self.network, self.method)

    @cached_property
    def step_parts(self) -> StepParts:
        """Parts of the time of a step with the whole global batch."""
        return self.throughput.step()

    def stage_parts(self, stage: int) -> StepParts:
        """Parts of the time of a step in this stage of the batch's ramp."""
        batch = self.batches.stages[stage].batch
        if batch == self.layout.global_batch:
            return self.step_parts
        if stage not in self._parts_of_stage:
            layout = dataclasses.replace(self.layout, global_batch=batch)
            smaller = Throughput(self.model.architecture, self.gpu, layout, self.network, self.method)
            self._parts_of_stage[stage] = smaller.step()
        return self._parts_of_stage[stage]

    @cached_property
    def memory(self) -> MemoryUse:
        """Memory of the fullest GPU at its peak."""
        return peak_memory_use(self.model.architecture, self.layout, self.method).within(self.gpu.memory_bytes)

    @property
    def memory_per_gpu_bytes(self) -> int:
        imposed = self.config.impose.memory_share
        capacity = self.gpu.memory_bytes
        return round(imposed[1] * capacity if imposed else self.memory.squeezed(capacity).total)

    @cached_property
    def mean_step_s(self) -> float:
        """Mean time of a step with the whole global batch."""
        return self.stage_step_s(len(self.batches.stages) - 1)

    def stage_step_s(self, stage: int) -> float:
        """Mean time of a step in this stage of the batch's ramp."""
        imposed = self.config.impose.step_time_s
        return sum(imposed) / 2 if imposed else self.stage_parts(stage).total

    def expected_s(self, steps: int) -> float:
        """Expected time of the first ``steps`` steps together, undisturbed."""
        each = enumerate(self.batches.steps_in(steps))
        return sum(count * self.stage_step_s(stage) for stage, count in each if count)

    @cached_property
    def checkpoint_bytes(self) -> int:
        return storage.checkpoint_bytes(self.model.architecture)

    @cached_property
    def export_bytes(self) -> int:
        return storage.export_bytes(self.model.architecture)

    @cached_property
    def evaluation_batch_s(self) -> float:
        imposed = self.config.impose.step_time_s
        per_micro_batch = (
            sum(imposed) / 2 / self.layout.accumulation / 3 if imposed else self.throughput.evaluation_batch_s()
        )
        return round(per_micro_batch, 6)

    def mfu(self, tokens_per_s: float) -> float:
        """Model FLOP/s at this throughput, over the peak bf16 FLOP/s of all GPUs."""
        return tokens_per_s * self.flops_per_token / (self.layout.world_size * self.gpu.bf16_flops)
