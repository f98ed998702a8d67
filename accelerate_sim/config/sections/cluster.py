"""``cluster`` and ``parallel``: the machines of the job, and how the training is spread over them."""

from typing import Annotated, Literal

from pydantic import Field

from accelerate_sim.config.sections.section import Section
from accelerate_sim.config.value_types import Count, HostNames, Name, Number


class ClusterConfig(Section):
    """The machines of the job."""

    nodes: Count = Field(8, ge=1, le=100_000, description="Machines in the job.")
    gpus_per_node: Count = Field(8, ge=1, le=72, description="GPUs in each machine.")
    gpu: Name = Field(
        "H100-SXM", description="Name of a GPU in the catalog; sets peak FLOP/s, memory, power and links."
    )
    nic_gbps: Annotated[Number, Field(ge=0.001, le=1e6)] | None = Field(
        None, description="Network bandwidth per GPU in Gbit/s; null: the usual one for the GPU (400 for an H100)."
    )
    ambient_c: Annotated[Number, Field(ge=-10, le=60)] = Field(
        24.0, description="Inlet air temperature in degrees Celsius. GPUs in warm air throttle more often."
    )
    storage_gbytes_per_s: Annotated[Number, Field(ge=0.001, le=1e6)] = Field(
        40.0, description="Bandwidth of the shared file system, read or write, all nodes together, in GB/s."
    )
    host: HostNames = Field(
        "node",
        description="Host names: this name and the node's number; a list, gpu-[007-010,12]; or auto: those of the "
        "machines that the processes run on.",
    )
    fabric: Literal["infiniband", "roce", "efa"] = Field(
        "infiniband", description="Network between machines: InfiniBand, Ethernet with RDMA, or AWS's EFA."
    )
    nccl_version: Name = Field("2.21.5", description="NCCL version that the log states.")
    driver: Literal[550, 570, 580, 590, 610] | None = Field(
        None, description="Branch of NVIDIA's driver, whose texts fake-nvidia-smi prints; null: the GPU's usual one."
    )


class ParallelConfig(Section):
    """The degrees of parallelism; the remaining factor of the world size is data parallel."""

    tensor: Count = Field(8, ge=1, le=1024, description="GPUs that share each matrix (TP); slow if it spans nodes.")
    pipeline: Count = Field(1, ge=1, le=1024, description="Stages of layers (PP).")
    context: Count = Field(1, ge=1, le=1024, description="GPUs that share each sequence (CP).")
    expert: Count = Field(1, ge=1, le=1024, description="GPUs that share the experts of a layer (EP).")
    virtual_stages: Count = Field(1, ge=1, le=64, description="Interleaved chunks of layers per pipeline stage.")
    sharding: Literal["ddp", "zero1", "zero2", "zero3", "fsdp"] = Field(
        "fsdp", description="State that data-parallel ranks shard: none (ddp) .. all of it (zero3, fsdp)."
    )
    shard_group: Annotated[Count, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Ranks that shard the state together; each such group has a copy (HSDP). null: all replicas.",
    )
    sequence: bool | None = Field(
        None, description="Tensor-parallel ranks also share norms and residuals (SP); null: as the software does."
    )
    tensor_overlap: bool | None = Field(
        None, description="Tensor-parallel communication overlaps matrix products; null: as the software does."
    )
    dispatcher: Literal["alltoall", "deepep", "hybridep"] | None = Field(
        None, description="Library that sends tokens to their experts; null: what the software does."
    )
    expert_overlap: bool | None = Field(
        None, description="Tokens are sent to their experts while the GPUs compute; null: what the software does."
    )
