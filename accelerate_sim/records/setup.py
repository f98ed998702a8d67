"""Records of what happens before the first step: loading, connecting, detecting.

Each record belongs to one moment of simulated time. Names of models, files and checkpoints are as the user wrote them;
a voice escapes what cannot be printed. They are named tuples, because thirty dataclasses would take 10 ms to define,
before the first line of a run.
"""

from __future__ import annotations

from typing import NamedTuple

# --- The run begins ---------------------------------------------------------------------------------


class RunFacts(NamedTuple):
    """Facts of a run that every record of it shares; a voice gets them with each record."""

    run: int
    """Number of the run in its session, from 1."""
    seed: int
    host: str
    """Host names are this and the node's number."""
    nodes: int
    gpus_per_node: int
    gpu: str
    """Product name of the GPU."""
    memory_total_bytes: int
    """Memory of one GPU."""
    peak_flops_per_gpu: float
    """Dense bf16."""
    flops_per_token: int
    total_steps: int
    """Steps that the run makes; ``max_steps`` counts."""
    steps_per_epoch: int
    epochs: int
    sequence_length: int
    micro_batch: int
    data_parallel: int
    log_every: int
    """Steps from one detail line to the next."""

    @property
    def world_size(self) -> int:
        return self.nodes * self.gpus_per_node

    def consumed_samples(self, tokens: int) -> int:
        """Sequences trained on when ``tokens`` tokens have been."""
        return tokens // self.sequence_length


class LaunchRecord(NamedTuple):
    """The program has started to play a run; nothing of the run is loaded yet."""

    script: str
    """File name of the training script."""
    attempt: int
    """Restarts by the launcher before this start."""


class EarlyEndRecord(NamedTuple):
    """The session ends before its runs are over."""

    reason: str
    """Interrupted, terminated and the like: the first word of the session's last line."""
    where: str
    """Position of the run, in a phrase."""
    saved: str | None
    """The checkpoint that was saved before the end, in a phrase; None without one."""


class ResumeRecord(NamedTuple):
    """A session continues what an earlier process left."""

    checkpoint: str | None
    """Path of the checkpoint; None: the run starts again from its beginning."""
    damaged: tuple[str, ...]
    """One sentence for each newer checkpoint that could not be used."""


class TightMemoryRecord(NamedTuple):
    """The plan needs more memory than its GPUs have, by less than the memory model's uncertainty."""

    sentence: str


class ProcessRecord(NamedTuple):
    """A process that plays one rank has joined the job."""

    rank: int
    local_rank: int
    node: int


class ExporterRecord(NamedTuple):
    """A metrics endpoint has begun to answer."""

    tracker: str
    url: str
    rank: int = 0
    """Rank of the process that answers."""


# --- Model and data ---------------------------------------------------------------------------------


class ModelRecord(NamedTuple):
    """The weights of a model are about to be loaded."""

    name: str
    """On the hub where the model has a name there."""
    model_class: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    """Width of the feed-forward layer; of one expert in a mixture of experts."""
    vocab: int
    context: int
    experts: int
    """0 for a dense model."""
    active_experts: int
    parameters: int
    active_parameters: int
    weight_bytes: int
    """In bf16."""
    start: str
    """Value of ``train.start``: scratch, checkpoint or finetune."""


class ModelLoadedRecord(NamedTuple):
    """The weights of the model are loaded."""

    seconds: float
    start: str
    """Value of ``train.start``: scratch, checkpoint or finetune."""


class TokenizerRecord(NamedTuple):
    """The tokenizer is loaded."""

    name: str
    vocab_size: int


class OwnStateRecord(NamedTuple):
    """A user's own script saves or loads the states of its objects."""

    path: str
    saving: bool
    """True before they are saved, False before they are loaded."""


class UnknownLengthRecord(NamedTuple):
    """The dataset of a user's own has no length, so repetitions in its last batch are not dropped."""


class RampRecord(NamedTuple):
    """The plan of a global batch that grows. It is a part of ``DataRecord``."""

    start: int
    """Sequences in the first step."""
    increment: int
    """Sequences by which the batch grows at a time."""
    samples: int
    """Sequences after which the batch has its full size."""
    whole_from_step: int
    """First step with the full batch, from 1."""


class DataRecord(NamedTuple):
    """The dataset is found, and what the run reads of it is known."""

    dataset: str
    subset: str
    """Name of the part that one epoch reads; empty: the whole dataset."""
    samples: int
    """Samples of the subset."""
    tokens: int
    """Tokens of the subset."""
    all_tokens: int
    """Tokens of the whole dataset."""
    ramp: RampRecord | None
    global_batch: int
    """Sequences in one step, after the ramp."""
    accumulation: int
    tokens_per_step: int
    planned_tokens: int
    """Tokens that the run trains on."""
    epochs_alike: bool
    """True if every planned epoch reads as many tokens as every other."""


class BatchRecord(NamedTuple):
    """From this step on the global batch has another size."""

    step: int
    global_batch: int
    accumulation: int


# --- The cluster ------------------------------------------------------------------------------------


class ConnectRecord(NamedTuple):
    """The process group is connected."""

    nccl_version: str
    layout: str
    """Degrees of parallelism, in a phrase."""


class LinkTestRecord(NamedTuple):
    """An all-reduce over the whole world has been timed before the first step."""

    algorithm: str
    protocol: str
    bytes: int
    ranks: int
    seconds: float
    algbw_bytes_per_s: float
    busbw_bytes_per_s: float


class CheckpointingRecord(NamedTuple):
    """The run will save checkpoints."""

    directory: str
    """Directory of the checkpoints, which exists only if the run has an output directory."""


class DetectRecord(NamedTuple):
    """All GPUs of the job have been found."""

    fault_rate: float
    """Interruptions per GPU-hour that the config asks for."""
