"""The layout of a job: its ranks, their nodes, and the groups of ranks that share a model.

Ranks are numbered as Megatron-LM does by default: tensor parallel is innermost, then context, then data, and pipeline
stages are outermost. So tensor groups are neighbours in one node, and data-parallel groups stride over the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from accelerate_sim import catalog
from accelerate_sim.catalog import GpuSpec
from accelerate_sim.config.checks.parallelism import nvlink_domain
from accelerate_sim.config.schema import RunConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ranks: TypeAlias = "NDArray[np.int64]"
OF_THE_METHOD = ("tensor_overlap", "dispatcher", "expert_overlap")
"""Keys of the section ``parallel`` about how groups communicate, not about their members."""


@dataclass(frozen=True)
class Group:
    """The shape of a communicating group: number of ranks, and number of those in one NVLink domain."""

    size: int
    per_domain: int

    @property
    def num_domains(self) -> int:
        return -(-self.size // self.per_domain)


@dataclass(frozen=True)
class Layout:
    """Degrees of parallelism and batch arithmetic of a run. All counts are exact."""

    nodes: int
    gpus_per_node: int
    nvlink_domain: int
    tensor: int
    pipeline: int
    context: int
    expert: int
    virtual_stages: int
    sharding: str
    sequence_length: int
    global_batch: int
    micro_batch: int
    sequence_parallel: bool = False
    """Tensor-parallel ranks also share norms and residuals."""
    shard_group: int | None = None
    """Ranks that shard the state together; None: all that hold the same weights."""

    @classmethod
    def of(cls, config: RunConfig, gpu: GpuSpec) -> Layout:
        parallel: dict[str, Any] = dict(config.parallel)
        batch = config.train
        for name in OF_THE_METHOD:
            del parallel[name]
        sequence = parallel.pop("sequence")
        if sequence is None:
            sequence = catalog.stack(batch.stack).sequence_parallel
        return cls(
            nodes=config.cluster.nodes,
            gpus_per_node=config.cluster.gpus_per_node,
            nvlink_domain=nvlink_domain(gpu, config.cluster.gpus_per_node),
            sequence_length=batch.sequence_length,
            global_batch=batch.global_batch,
            micro_batch=batch.micro_batch,
            sequence_parallel=sequence and config.parallel.tensor > 1,
            **parallel,
        )

    @property
    def world_size(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def model_parallel(self) -> int:
        """GPUs that hold one replica of the model."""
        return self.tensor * self.context * self.pipeline

    @property
    def data(self) -> int:
        """Data-parallel replicas."""
        return self.world_size // self.model_parallel

    @property
    def accumulation(self) -> int:
        """Micro-batches that one replica takes for one optimizer step."""
        return self.global_batch // (self.micro_batch * self.data)

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch * self.sequence_length

    @property
    def stage_stride(self) -> int:
        """Ranks from one pipeline stage to the next."""
        return self.world_size // self.pipeline

    @property
    def tensor_group(self) -> Group:
        return self._group(self.tensor, stride=1)

    @property
    def context_group(self) -> Group:
        return self._group(self.context, stride=self.tensor)

    @property
    def data_group(self) -> Group:
        return self._group(self.data, stride=self.tensor * self.context)

    @property
    def expert_group(self) -> Group:
        """The group among which a layer's experts are divided: neighbours, tensor-parallel ranks first."""
        return self._group(self.expert, stride=1 if self.expert_tensor == 1 else self.tensor)

    @property
    def expert_tensor(self) -> int:
        """Ranks that share the matrices of one expert; with expert parallelism experts are not split."""
        return self.tensor if self.expert == 1 else 1

    @property
    def weight_ranks(self) -> int:
        """Ranks that hold the same weights: data-parallel replicas, and those that share their sequences."""
        return self.data * self.context

    @property
    def expert_ranks(self) -> int:
        """Ranks that hold the same experts."""
        return max(1, self.weight_ranks * self.tensor // (self.expert * self.expert_tensor))

    @property
    def expert_copies(self) -> Group:
        """The ranks that hold the same experts."""
        return self._group(self.expert_ranks, stride=self.expert * self.expert_tensor)

    @property
    def shards(self) -> int:
        """Number of ranks that shard the state of the weights that they all hold."""
        return min(self.weight_ranks, self.shard_group or self.weight_ranks)

    @property
    def shard_ranks(self) -> Group:
        """The group of ranks that shard the state."""
        return self._group(self.shards, stride=self.tensor)

    @property
    def copy_ranks(self) -> Group:
        """The group of ranks with the same shard, where shard groups are smaller than the number of replicas."""
        return self._group(self.weight_ranks // self.shards, stride=self.tensor * self.shards)

    @property
    def world_group(self) -> Group:
        return self._group(self.world_size, stride=1)

    def _group(self, size: int, stride: int) -> Group:
        return Group(size, per_domain=max(1, min(size, self.nvlink_domain // stride)))

    def node(self, rank: Ranks) -> Ranks:
        return rank // self.gpus_per_node

    def local_rank(self, rank: Ranks) -> Ranks:
        return rank % self.gpus_per_node

    def data_rank(self, rank: Ranks) -> Ranks:
        """Index of a rank's replica, whose ranks all read the same batch."""
        return rank // (self.tensor * self.context) % self.data

    def stage(self, rank: Ranks) -> Ranks:
        """Index of a rank's pipeline stage."""
        return rank // (self.tensor * self.context * self.data)

    def describe(self) -> str:
        """The layout in one phrase, as engineers write it: DP 8 x TP 8 (FSDP)."""
        names = {"DP": self.data, "TP": self.tensor, "PP": self.pipeline, "CP": self.context}
        degrees = " x ".join(f"{name} {size}" for name, size in names.items() if size > 1 or name in ("DP", "TP"))
        expert = f", EP {self.expert}" if self.expert > 1 else ""
        return f"{degrees}{expert} ({self.sharding.upper()})"
