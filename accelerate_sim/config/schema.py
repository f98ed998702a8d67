"""What can be said about a run: every section and key of a config file, with its unit and its bounds.

The models are frozen and refuse unknown keys. Field descriptions are the documentation that ``--print-config``
prints. Only bounds that concern one key are checked here; what several keys have to agree on is in ``layout.py``.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PlainSerializer, StrictBool, Tag

from accelerate_sim.catalog import Architecture, ModelSpec
from accelerate_sim.config import extensions


def _not_bool(value: Any) -> Any:
    # YAML's true is an int to Python; a switch written where a count belongs is a mistake.
    if isinstance(value, bool):
        raise ValueError("is a switch (true/false), not a number")
    return value


def _plain_name(value: Any) -> Any:
    if isinstance(value, str) and any(not character.isprintable() for character in value):
        raise ValueError("contains control characters; use plain text")
    return value


TRACKERS = tuple(extensions.TRACKERS)
VOICES = tuple(extensions.VOICES)
Count = Annotated[int, BeforeValidator(_not_bool)]
"""A whole number."""
Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, le=1e18, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, BeforeValidator(_plain_name), Field(min_length=1, max_length=100)]
Range = tuple[Positive, Positive]


def _speed(value: Any) -> Any:
    if value == "max":
        return math.inf
    try:
        speed = float(_not_bool(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("is neither a number nor 'max'; use e.g. 250") from None
    if not 0 < speed < math.inf:
        raise ValueError("is not a number above 0; for no waiting at all use 'max'")
    return speed


def _interval(value: Any) -> Any:
    if value == "epoch":
        return 0
    try:
        number = float(_not_bool(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("is neither a number of steps nor 'epoch'; use e.g. 500") from None
    if not (1 <= number <= 1e8 and number.is_integer()):
        raise ValueError("is not a whole number of steps; use 'epoch' for none in between")
    return int(number)


def _trackers(value: Any) -> Any:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"holds {name!r:.40}, which is no tracker; use some of {', '.join(TRACKERS)}")
    return tuple(dict.fromkeys(names))


def _voice(value: Any) -> Any:
    if value not in VOICES:
        raise ValueError(f"is no voice; use {' or '.join(VOICES)}")
    return value


def _address(value: Any) -> Any:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("is not HOST:PORT; use e.g. 127.0.0.1:9400, or 0.0.0.0:9400 for all who can reach this host")
    return value


Address = Annotated[str, BeforeValidator(_address)]
"""Host and port to listen on."""
Trackers = Annotated[tuple[str, ...], BeforeValidator(_trackers)]
"""Names of TRACKERS."""
Voice = Annotated[str, BeforeValidator(_voice)]
"""One name of VOICES."""
Speed = Annotated[float, BeforeValidator(_speed), PlainSerializer(lambda speed: "max" if speed == math.inf else speed)]
"""Simulated seconds per real second; infinite for 'max'."""
Interval = Annotated[int, BeforeValidator(_interval), PlainSerializer(lambda steps: steps or "epoch")]
"""Steps; 0 for 'epoch'."""


class Section(BaseModel):
    """One section of a config file."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class CustomModel(Architecture):
    """A model that the catalog does not hold: the keys of a catalog entry's architecture, and a name."""

    name: Name = Field("custom", description="Name to show.")
    tokenizer: Name = Field("byte-level BPE", description="Name of its tokenizer.")

    def spec(self) -> ModelSpec:
        """The same as a catalog entry."""
        architecture = Architecture(**self.model_dump(exclude={"name", "tokenizer"}, exclude_unset=True))
        return ModelSpec(
            name=self.name, title=self.name, hub_id=None, architecture=architecture, tokenizer=self.tokenizer,
            published_parameters=architecture.parameters, source="config",
        )  # fmt: skip


class DataConfig(Section):
    """What the model reads."""

    dataset: Name = Field("fineweb-edu", description="A catalog name; --list datasets shows them.")
    tokenizer: Name | None = Field(None, description="Name of the tokenizer; null: the model's own.")


class ClusterConfig(Section):
    """The machines."""

    nodes: Count = Field(8, ge=1, le=100_000, description="Machines in the job.")
    gpus_per_node: Count = Field(8, ge=1, le=72, description="GPUs in each machine.")
    gpu: Name = Field("H100-SXM", description="A catalog name; sets peak FLOP/s, memory, power and links.")
    nic_gbps: Annotated[Number, Field(ge=0.001, le=1e6)] | None = Field(
        None, description="Network per GPU in Gbit/s; null: what is usual for the GPU (400 for an H100)."
    )
    ambient_c: Annotated[Number, Field(ge=-10, le=60)] = Field(
        24.0, description="Inlet air in degrees Celsius. Warm aisles throttle more often."
    )
    storage_gbytes_per_s: Annotated[Number, Field(ge=0.001, le=1e6)] = Field(
        40.0, description="What the shared file system takes and gives, all nodes together, in GB/s."
    )
    host: Name = Field("node", description="Host names are this and the node's number.")
    nccl_version: Name = Field("2.21.5", description="NCCL version that the job reports.")


class ParallelConfig(Section):
    """How the model is spread. Data parallel is what is left of the world."""

    tensor: Count = Field(8, ge=1, le=1024, description="GPUs that share each matrix (TP); beyond a node it is slow.")
    pipeline: Count = Field(1, ge=1, le=1024, description="Stages of layers (PP).")
    context: Count = Field(1, ge=1, le=1024, description="GPUs that share each sequence (CP).")
    expert: Count = Field(1, ge=1, le=1024, description="GPUs that share the experts of a layer (EP).")
    virtual_stages: Count = Field(1, ge=1, le=64, description="Interleaved chunks of layers per pipeline stage.")
    sharding: Literal["ddp", "zero1", "zero2", "zero3", "fsdp"] = Field(
        "fsdp", description="What data-parallel ranks split among them: nothing (ddp) .. everything (zero3, fsdp)."
    )
    shard_group: Annotated[Count, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Ranks that split it among them, each such group a copy (HSDP); null: all replicas."
    )
    sequence: bool | None = Field(
        None, description="Tensor-parallel ranks also share norms and residuals (SP); null: what the software does."
    )
    tensor_overlap: bool | None = Field(
        None, description="Tensor-parallel communication behind matrix products; null: what the software does."
    )


class BatchRamp(Section):
    """A global batch that grows, as with Megatron-LM's --rampup-batch-size."""

    start: Count = Field(ge=1, le=1_000_000, description="Sequences in the first step.")
    increment: Count = Field(ge=1, le=1_000_000, description="Sequences by which the batch grows at a time.")
    samples: Count = Field(ge=1, le=10**12, description="Sequences after which it has grown to global_batch.")


class TrainConfig(Section):
    """The optimisation."""

    start: Literal["scratch", "checkpoint", "finetune"] = Field(
        "scratch",
        description="What training starts from: random weights, the state of an earlier run, or a finished model.",
    )
    epochs: Count = Field(
        3, ge=1, le=10_000, description="Passes of steps_per_epoch steps, each ending in a validation."
    )
    steps_per_epoch: Count = Field(1000, ge=1, le=100_000_000, description="Optimizer steps in one epoch.")
    max_steps: Annotated[Count, Field(ge=1, le=10**9)] | None = Field(
        None, description="Stop after so many steps; the schedule stays that of the whole run. null: all of them."
    )
    sequence_length: Count = Field(8192, ge=1, le=16_777_216, description="Tokens in one sequence.")
    global_batch: Count = Field(128, ge=1, le=1_000_000, description="Sequences in one optimizer step.")
    batch_ramp: BatchRamp | None = Field(
        None, description="A smaller batch at first: {start, increment, samples}; null: global_batch from the start."
    )
    micro_batch: Count = Field(
        1, ge=1, le=100_000, description="Sequences in one forward pass of one data-parallel rank."
    )
    precision: Literal["bf16", "fp16", "fp8", "mxfp8"] = Field(
        "bf16", description="Number format of the matrix products; mxfp8: fp8 with a scale per 32 numbers."
    )
    lr: Positive = Field(1.5e-4, description="Peak learning rate.")
    min_lr: Annotated[Number, Field(ge=0)] = Field(
        default_factory=lambda known: float(f"{known['lr'] / 10:.6g}"),
        description="Learning rate at the last step; default: a tenth of lr.",
    )
    schedule: Literal["cosine", "linear", "wsd", "constant"] = Field("cosine", description="Shape after the warm-up.")
    warmup_steps: Count = Field(
        default_factory=lambda known: min(100, known["epochs"] * known["steps_per_epoch"] // 10),
        ge=0,
        le=100_000_000,
        description="Steps of linear warm-up; default: 100, or a tenth of all steps if that is less.",
    )
    max_grad_norm: Positive = Field(1.0, description="Gradients are clipped to this norm.")
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = Field(0.1, description="Decoupled weight decay of AdamW.")
    recompute: Literal["none", "selective", "full"] = Field(
        "selective", description="Activations computed again in the backward pass, to save memory."
    )
    recompute_share: Share | None = Field(
        None, description="Of a layer's forward pass, what is computed again; null: all with full, none otherwise."
    )
    gradient_bytes: Annotated[Number, Field(ge=1, le=16)] | None = Field(
        None, description="Bytes of a parameter's gradient; null: 2 where sharded or where the stack does so, else 4."
    )
    stack: Name = Field(
        "megatron-core", description="Training software, a name in catalog/stacks.yaml; sets kernels and overlap."
    )
    compiled: bool = Field(False, description="Kernels merged by a compiler, for software that does not by itself.")
    blocking_launches: bool = Field(False, description="The host waits for every kernel (CUDA_LAUNCH_BLOCKING=1).")
    release: Annotated[Number, Field(ge=17, le=40)] | None = Field(
        None, description="Software's age as year and share after 2000 (26.25: April 2026); null: the stack's."
    )


class EvalConfig(Section):
    """The validations."""

    every: Interval = Field(0, description="'epoch', or every so many steps (and after each epoch).")
    batches: Count = Field(
        100, ge=1, le=1_000_000, description="Micro-batches that each data-parallel rank validates on."
    )


class CheckpointConfig(Section):
    """The saved states."""

    every: Count = Field(500, ge=0, le=100_000_000, description="Steps from one checkpoint to the next; 0: none.")
    keep_last: Count = Field(3, ge=1, le=1000, description="Older checkpoints are deleted.")
    keep_best: Count = Field(
        0, ge=0, le=1000, description="Of the older ones, so many are kept that had the lowest validation loss."
    )
    shards: Literal["sparse", "tiny"] = Field(
        "sparse", description="Files of true size that occupy nothing, or tensors of small shapes."
    )
    on_preempt: Literal["save", "exit"] = Field(
        "save", description="Upon SIGTERM or SIGUSR1: a checkpoint before the end, or the end at once."
    )


class LogConfig(Section):
    """What is said, and how often."""

    every: Count = Field(10, ge=1, le=1_000_000, description="Steps from one detail line to the next.")
    gpu_grid_every: Count = Field(10, ge=0, le=1_000_000, description="Steps from one GPU grid to the next; 0: none.")
    trackers: Trackers = Field(
        (),
        description=f"Also log to some of [{', '.join(extensions.optional_trackers())}], named as in Accelerate's "
        "log_with.",
    )
    voice: Voice = Field("house", description="Wording of the log lines; --list voices describes each.")
    prometheus_address: Address = Field(
        "127.0.0.1:9400", description="Where prometheus scrapes; port 0: any that is free. [::1]:9400 for IPv6."
    )
    gpu_detail: Literal["auto", "full"] = Field(
        "auto", description="Metrics of single GPUs: 'full', or only their distribution above 512 GPUs ('auto')."
    )


class PlayConfig(Section):
    """How the run is played."""

    seed: Count = Field(
        42, ge=0, le=2**63 - 1, description="Same config, seed and start time: the same run, to the byte."
    )
    speed: Speed = Field(250.0, description="Simulated seconds per real second; 'max': never wait.")
    startup_speed: Speed | None = Field(None, description="The same, for start-up and export; null: as speed.")
    runs: Annotated[Count, Field(ge=0, le=10**9)] | None = Field(
        None, description="Runs to play; 0: for ever; null: for ever on a terminal, else 1."
    )
    publish: StrictBool = Field(
        False, description="Let fake-nvidia-smi see the job: a file in the user's runtime directory while it runs."
    )


class FaultsConfig(Section):
    """What breaks, in the plan."""

    rate: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0,
        description="Interruptions per GPU-hour that --plan draws and reckons with; they are not played. 0: none. "
        "Published fleets have 2e-5 (1.5e-5 to 1.2e-4).",
    )
    restart_minutes: Annotated[Number, Field(ge=0, le=10_000)] = Field(
        7.0, description="From an interruption until steps go on: noticing, rescheduling, loading."
    )


class ImposeConfig(Section):
    """Figures set by hand instead of following from the physics. null: physics."""

    step_time_s: Range | None = Field(None, description="[shortest, longest] step.")
    memory_share: Annotated[tuple[Share, Share], Field()] | None = Field(
        None, description="[least, most] of a GPU's memory in use."
    )
    utilization_pct: Range | None = Field(None, description="[least, most] GPU utilization.")
    temperature_c: Range | None = Field(None, description="[coolest, hottest] GPU.")
    first_loss: Range | None = Field(
        None,
        description="[lowest, highest] loss at the start; with it, the loss falls exponentially over the whole run.",
    )
    last_loss: Range = Field((1.4, 2.2), description="[lowest, highest] loss at the end; used with first_loss.")


Model = Annotated[
    Annotated[Name, Tag("name")] | Annotated[CustomModel, Tag("mapping")],
    # By hand, so that an error speaks of what was meant instead of both branches.
    Discriminator(lambda value: "mapping" if isinstance(value, dict | CustomModel) else "name"),
]


class RunConfig(Section):
    """A whole run."""

    model: Model = Field(
        "llama-3-70b", description="A catalog name (--list models), or a mapping: name, architecture, tokenizer."
    )
    data: DataConfig = Field(default_factory=DataConfig)
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    parallel: ParallelConfig = Field(default_factory=ParallelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    run: PlayConfig = Field(default_factory=PlayConfig)
    faults: FaultsConfig = Field(default_factory=FaultsConfig)
    impose: ImposeConfig = Field(default_factory=ImposeConfig)

    @property
    def model_name(self) -> str:
        """The model's name, wherever its architecture comes from."""
        return self.model.name if isinstance(self.model, CustomModel) else self.model
