"""Enumerations and settings that scripts hand to ``Accelerator``, with Accelerate's fields and defaults.

A field that would change something which is not simulated is refused by ``Accelerator``, with the reason.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import Enum
from typing import Any


class _Names(str, Enum):  # noqa: UP042 - a StrEnum prints its value
    """An enumeration whose members equal their values, and print as class and name, as Accelerate's do."""

    @classmethod
    def list(cls) -> list[str]:
        """All values."""
        return [str(member.value) for member in cls]


class DistributedType(_Names):
    """Kinds of distributed environments; here it is NO, MULTI_GPU or, with ``cpu=True``, MULTI_CPU."""

    NO = "NO"
    MULTI_CPU = "MULTI_CPU"
    MULTI_GPU = "MULTI_GPU"
    MULTI_NPU = "MULTI_NPU"
    MULTI_MLU = "MULTI_MLU"
    MULTI_SDAA = "MULTI_SDAA"
    MULTI_MUSA = "MULTI_MUSA"
    MULTI_XPU = "MULTI_XPU"
    DEEPSPEED = "DEEPSPEED"
    FSDP = "FSDP"
    XLA = "XLA"
    MEGATRON_LM = "MEGATRON_LM"
    MULTI_HPU = "MULTI_HPU"
    MULTI_NEURON = "MULTI_NEURON"


class PrecisionType(_Names):
    """Number formats of mixed precision."""

    NO = "no"
    FP8 = "fp8"
    FP16 = "fp16"
    BF16 = "bf16"


class LoggerType(_Names):
    """Names of Accelerate's trackers; of a script's own ones tensorboard and jsonl are here."""

    ALL = "all"
    AIM = "aim"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    TRACKIO = "trackio"
    COMETML = "comet_ml"
    MLFLOW = "mlflow"
    CLEARML = "clearml"
    DVCLIVE = "dvclive"
    SWANLAB = "swanlab"


class RNGType(_Names):
    """Random generators that ranks can have in common; here those of ``generator`` are."""

    TORCH = "torch"
    CUDA = "cuda"
    GENERATOR = "generator"


class KwargsHandler:
    """Settings that are a dataclass."""

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        own = fields(self)  # type: ignore[arg-type]  # each subclass is a dataclass
        return {field.name: copy.deepcopy(getattr(self, field.name)) for field in own}

    def to_kwargs(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        default = type(self)().to_dict()
        return {name: value for name, value in self.to_dict().items() if value != default[name]}


@dataclass
class ProjectConfiguration:
    """The directories of a script's files."""

    project_dir: str | None = None
    logging_dir: str | None = None
    automatic_checkpoint_naming: bool = False
    """``save_state`` counts its checkpoints: project_dir/checkpoints/checkpoint_0, and so on."""
    total_limit: int | None = None
    """Automatically named checkpoints that are kept."""
    iteration: int = 0
    """Number of the next automatically named checkpoint."""
    save_on_each_node: bool = False

    def set_directories(self, project_dir: str | None = None) -> None:
        """Use ``project_dir``, also for logs unless they have a directory."""
        self.project_dir = project_dir
        if self.logging_dir is None:
            self.logging_dir = project_dir

    def __post_init__(self) -> None:
        self.set_directories(self.project_dir)


@dataclass
class DataLoaderConfiguration:
    """The way in which ``prepare`` deals batches to ranks."""

    split_batches: bool = False
    """Each batch is cut among the ranks, in place of a batch for each."""
    dispatch_batches: bool | None = None
    even_batches: bool = True
    use_seedable_sampler: bool = False
    data_seed: int | None = None
    non_blocking: bool = False
    use_stateful_dataloader: bool = False


@dataclass
class GradientAccumulationPlugin(KwargsHandler):
    """The way in which micro-batches make an optimizer step."""

    num_steps: int | None = None
    adjust_scheduler: bool = True
    sync_with_dataloader: bool = True
    sync_each_batch: bool = False


@dataclass
class AutocastKwargs(KwargsHandler):
    """Settings of ``autocast``."""

    enabled: bool = True
    cache_enabled: bool | None = None


@dataclass
class GradScalerKwargs(KwargsHandler):
    """Settings of torch's loss scaler, which is not simulated."""

    init_scale: float = 65536.0
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000
    enabled: bool = True


@dataclass
class InitProcessGroupKwargs(KwargsHandler):
    """Settings with which ranks meet."""

    backend: str | None = "nccl"
    init_method: str | None = None
    timeout: timedelta | None = None


@dataclass
class DistributedDataParallelKwargs(KwargsHandler):
    """Settings of torch's DistributedDataParallel; they change how gradients travel, and not what arrives."""

    dim: int = 0
    broadcast_buffers: bool = True
    bucket_cap_mb: int = 25
    find_unused_parameters: bool = False
    check_reduction: bool = False
    gradient_as_bucket_view: bool = False
    static_graph: bool = False


@dataclass
class ProfileKwargs(KwargsHandler):
    """Settings of torch's profiler, which is not simulated."""

    activities: Any = None
    schedule_option: dict[str, int] | None = None
    on_trace_ready: Any = None
    record_shapes: bool = False
    profile_memory: bool = False
    with_stack: bool = False
    with_flops: bool = False
    with_modules: bool = False
    output_trace_dir: str | None = None
