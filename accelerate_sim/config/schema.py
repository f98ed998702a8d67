"""The schema of a config file: every section and key, with its unit and its bounds.

The models are frozen and refuse unknown keys. Field descriptions are the documentation that ``--print-config``
prints. Only bounds that concern one key are checked here; checks that involve several keys are in ``config/checks``.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    StrictBool,
    Tag,
    model_serializer,
)

from accelerate_sim.catalog import Architecture, ModelSpec
from accelerate_sim.config import extensions
from accelerate_sim.config.value_types import (
    Address,
    Count,
    FaultEntries,
    Hazards,
    HostNames,
    Interval,
    Name,
    Number,
    Positive,
    Range,
    Share,
    Speed,
    Trackers,
    Voice,
)

EPOCHS, STEPS_PER_EPOCH, LR = 3, 1000, 1.5e-4
"""Defaults that others follow from, also where a file has a value that is refused: pydantic 2.10 asks for them then."""


class Section(BaseModel):
    """One section of a config file."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class CustomModel(Architecture):
    """A model that the catalog does not hold: the keys of a catalog entry's architecture, and a name."""

    name: Name = Field("custom", description="Name to show.")
    tokenizer: Name = Field("byte-level BPE", description="Name of its tokenizer.")

    def spec(self) -> ModelSpec:
        """The model as an entry of the catalog."""
        architecture = Architecture(**self.model_dump(exclude={"name", "tokenizer"}, exclude_unset=True))
        return ModelSpec(
            name=self.name, title=self.name, hub_id=None, architecture=architecture, tokenizer=self.tokenizer,
            published_parameters=architecture.parameters, source="config",
        )  # fmt: skip


class DataConfig(Section):
    """The training data."""

    dataset: Name = Field("fineweb-edu", description="Name of a dataset in the catalog; --list datasets shows them.")
    tokenizer: Name | None = Field(None, description="Name of the tokenizer; null: that of the model.")


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
        None, description="Branch of NVIDIA's driver, whose words fake-nvidia-smi uses; null: the GPU's usual one."
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


class BatchRamp(Section):
    """A global batch that grows, as with Megatron-LM's --rampup-batch-size."""

    start: Count = Field(ge=1, le=1_000_000, description="Sequences in the first step.")
    increment: Count = Field(ge=1, le=1_000_000, description="Sequences that each stage adds to the batch.")
    samples: Count = Field(ge=1, le=10**12, description="Sequences after which the batch is global_batch.")


class TrainConfig(Section):
    """Optimizer, batch, schedule, precision and training software."""

    start: Literal["scratch", "checkpoint", "finetune"] = Field(
        "scratch",
        description="Start of the training: random weights, the state of an earlier run, or a finished model.",
    )
    epochs: Count = Field(
        EPOCHS, ge=1, le=10_000, description="Passes of steps_per_epoch steps, each ending in a validation."
    )
    steps_per_epoch: Count = Field(STEPS_PER_EPOCH, ge=1, le=100_000_000, description="Optimizer steps in one epoch.")
    max_steps: Annotated[Count, Field(ge=1, le=10**9)] | None = Field(
        None, description="Stop after this many steps; the schedule stays that of the whole run. null: all steps."
    )
    sequence_length: Count = Field(8192, ge=1, le=16_777_216, description="Tokens in one sequence.")
    global_batch: Count = Field(128, ge=1, le=1_000_000, description="Sequences in one optimizer step.")
    batch_ramp: BatchRamp | None = Field(
        None, description="A smaller batch at first: {start, increment, samples}; null: global_batch from the start."
    )
    micro_batch: Count = Field(
        1, ge=1, le=100_000, description="Sequences in one forward pass of one data-parallel rank."
    )
    precision: Literal["bf16", "fp16", "fp8", "mxfp8", "nvfp4"] = Field(
        "bf16",
        description="Number format of the matrix products; mxfp8: fp8 with a scale per 32 numbers; nvfp4: 4 bits with "
        "a scale per 16.",
    )
    optimizer: Literal["adamw", "muon", "soap", "lion", "adafactor"] = Field(
        "adamw", description="Optimizer; sets the state it keeps for each parameter and how fast the loss falls."
    )
    optimizer_precision: Literal["fp32", "bf16-moments", "bf16"] | None = Field(
        None,
        description="Optimizer state: master weights and moments in fp32 (fp32), moments in bf16 (bf16-moments), or "
        "weights as their own masters and moments in bf16 (bf16); null: what the software does.",
    )
    lr: Positive = Field(LR, description="Peak learning rate; muon takes AdamW's rates, lion about a quarter.")
    min_lr: Annotated[Number, Field(ge=0)] = Field(
        default_factory=lambda known: float(f"{known.get('lr', LR) / 10:.6g}"),
        description="Learning rate at the last step; default: a tenth of lr.",
    )
    schedule: Literal["cosine", "linear", "wsd", "constant"] = Field("cosine", description="Shape after the warm-up.")
    warmup_steps: Count = Field(
        default_factory=lambda known: min(
            100, known.get("epochs", EPOCHS) * known.get("steps_per_epoch", STEPS_PER_EPOCH) // 10
        ),
        ge=0,
        le=100_000_000,
        description="Steps of linear warm-up; default: 100, or a tenth of all steps if that is less.",
    )
    max_grad_norm: Positive = Field(1.0, description="Norm to which gradients are clipped.")
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = Field(0.1, description="Decoupled weight decay.")
    recompute: Literal["none", "selective", "full"] = Field(
        "selective", description="Activations that are computed again in the backward pass to save memory."
    )
    recompute_share: Share | None = Field(
        None, description="Share of a layer's forward pass that is computed again; null: all with full, none otherwise."
    )
    gradient_bytes: Annotated[Number, Field(ge=1, le=16)] | None = Field(
        None,
        description="Bytes of a parameter's gradient; null: 2 if sharded or if the stack uses 2, else 4.",
    )
    stack: Name = Field(
        "megatron-core", description="Training software, a name in catalog/stacks.yaml; sets kernels and overlap."
    )
    compiled: bool = Field(False, description="A compiler merges kernels, if the software does not do so itself.")
    blocking_launches: bool = Field(False, description="The host waits for every kernel (CUDA_LAUNCH_BLOCKING=1).")
    release: Annotated[Number, Field(ge=17, le=40)] | None = Field(
        None, description="Release of the software in years after 2000 (26.25: April 2026); null: that of the stack."
    )


class EvalConfig(Section):
    """Validations during training."""

    every: Interval = Field(0, description="Steps between validations, which also end each epoch; 'epoch': only those.")
    batches: Count = Field(
        100, ge=1, le=1_000_000, description="Micro-batches that each data-parallel rank validates on."
    )


class CheckpointConfig(Section):
    """Checkpoints."""

    every: Count = Field(500, ge=0, le=100_000_000, description="Steps from one checkpoint to the next; 0: none.")
    keep_last: Count = Field(3, ge=1, le=1000, description="Latest checkpoints that are kept; older ones are deleted.")
    keep_best: Count = Field(
        0, ge=0, le=1000, description="Older checkpoints that are kept because their validation loss was lowest."
    )
    shards: Literal["sparse", "tiny"] = Field(
        "sparse", description="sparse: files of true size that occupy no blocks; tiny: tensors of small shapes."
    )
    on_preempt: Literal["save", "exit"] = Field(
        "save", description="Reaction to SIGTERM or SIGUSR1: save a checkpoint and exit, or exit at once."
    )


class LogConfig(Section):
    """Log lines, GPU grids and trackers."""

    every: Count = Field(10, ge=1, le=1_000_000, description="Steps from one detail line to the next.")
    gpu_grid_every: Count = Field(10, ge=0, le=1_000_000, description="Steps from one GPU grid to the next; 0: none.")
    trackers: Trackers = Field(
        (),
        description=f"Also log to some of [{', '.join(extensions.optional_trackers())}], named as in Accelerate's "
        "log_with.",
    )
    voice: Voice = Field(
        "house", description="Wording of the log lines, NAME or NAME@VERSION; --list voices describes each."
    )
    voice_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the voice, by name; --list voices shows them."
    )
    hazards: Hazards = Field(
        (), description="What happens to log lines without a terminal, NAME or NAME:SHARE; --list hazards shows all."
    )
    ranks: Literal["main", "node", "all"] | None = Field(
        None,
        description="Ranks that log steps: rank 0 (main), the first of each node, or all. null: those of the voice's "
        "framework; in house style node under fake-torchrun with several nodes, else main.",
    )
    json_values: Literal["numbers", "strings"] = Field(
        "numbers", description="Figures in metrics.jsonl: numbers, or strings as Katib's collector takes them."
    )
    prometheus_address: Address = Field(
        "127.0.0.1:9400",
        description="HOST:PORT on which prometheus scrapes are answered; port 0: any free one. IPv6: [::1]:9400.",
    )
    prometheus_per: Literal["job", "node"] = Field(
        "job",
        description="job: rank 0 serves all GPUs; node: under a launcher the first rank of each node serves the "
        "node's, at the port of prometheus_address, further nodes on the same machine at the next ports.",
    )
    gpu_detail: Literal["auto", "full"] = Field(
        "auto", description="full: metrics of every GPU; auto: only their distribution above 512 GPUs."
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """In JSON, leave out a key that most runs do not need, so that their files are as they always were."""
        found: dict[str, Any] = write(self)
        if info.mode == "json" and self.prometheus_per == "job":
            del found["prometheus_per"]
        return found


class PlayConfig(Section):
    """Seed, speed and number of the runs."""

    seed: Count = Field(
        42, ge=0, le=2**63 - 1, description="Random seed. Equal config, seed and start time give equal bytes."
    )
    speed: Speed = Field(250.0, description="Simulated seconds per real second; 'max': never wait.")
    startup_speed: Speed | None = Field(
        None, description="Simulated seconds per real second in start-up and export; null: speed."
    )
    runs: Annotated[Count, Field(ge=0, le=10**9)] | None = Field(
        None, description="Number of runs; 0: no end; null: no end on a terminal, else 1."
    )
    publish: StrictBool = Field(
        False,
        description="Show the job to fake-nvidia-smi by a file in the user's runtime directory while it runs.",
    )


class FaultsConfig(Section):
    """Failures: those that the plan counts with, and those that happen in the run."""

    rate: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0,
        description="Interruptions per GPU-hour that --plan counts with; drawn says whether they happen. 0: none. "
        "Published fleets have 2e-5 (1.5e-5 to 1.2e-4).",
    )
    drawn: Literal["plan", "play"] = Field(
        "plan", description="plan: the faults of the rate are only counted with; play: they happen in the run."
    )
    restarts: Count = Field(
        3, ge=0, le=1_000_000, description="Times that the job is started again; a launcher decides that itself."
    )
    restart_minutes: Annotated[Number, Field(ge=0, le=10_000)] = Field(
        7.0, description="Minutes from an interruption to the next step: detection, rescheduling, loading."
    )
    torch: Annotated[Name, Field(pattern=r"^2\.[0-9]{1,2}\.[0-9]{1,2}$")] = Field(
        "2.13.0", description="Version of torch, 2.4.0 or later, whose lines the ranks print when something breaks."
    )
    play: FaultEntries = Field(
        (), description="Faults that happen, such as [kill rank=13 at=step:40]; --list faults shows the kinds."
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """In JSON, leave out what a run without faults has by default, so that its files are as they always were."""
        found: dict[str, Any] = write(self)
        if info.mode != "json":
            return found
        defaults: dict[str, Any] = {"drawn": "plan", "restarts": 3, "torch": "2.13.0", "play": []}
        return {name: value for name, value in found.items() if name not in defaults or value != defaults[name]}


class ImposeConfig(Section):
    """Figures that replace those of the physics; null: the physics decides."""

    step_time_s: Range | None = Field(None, description="[shortest, longest] time of a step, in seconds.")
    memory_share: Annotated[tuple[Share, Share], Field()] | None = Field(
        None, description="[least, most] share of a GPU's memory in use."
    )
    utilization_pct: Range | None = Field(None, description="[lowest, highest] GPU utilization, in per cent.")
    temperature_c: Range | None = Field(None, description="[coolest, hottest] GPU, in degrees Celsius.")
    first_loss: Range | None = Field(
        None,
        description="[lowest, highest] loss at the start; with it, the loss falls exponentially over the whole run.",
    )
    last_loss: Range = Field((1.4, 2.2), description="[lowest, highest] loss at the end; used with first_loss.")


Model = Annotated[
    Annotated[Name, Tag("name")] | Annotated[CustomModel, Tag("mapping")],
    # The branch is chosen here, so that an error names the one that was meant and not both.
    Discriminator(lambda value: "mapping" if isinstance(value, dict | CustomModel) else "name"),
]


class RunConfig(Section):
    """The config of one run."""

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
        """The model's name, from the catalog or from the mapping."""
        return self.model.name if isinstance(self.model, CustomModel) else self.model
