"""The voice of torchtitan: lines of its logger, in colours also on a pipe.

Formats are those of its modules metrics, trainer and logging at 0.1.0 and at 0.2.2 (pytorch/torchtitan, b5bcd76c).
Rates are over the time since the last line, pauses for checkpoints included; after a validation the count begins anew.
The printing rank is the first one of the last pipeline stage, which alone has the loss; rank 0 deletes checkpoints and
waits for the others. 0.2.2 says nothing when the checkpoint of the last step is done. Not played: checkpointing active.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from accelerate_sim.records import (
    CheckpointRecord,
    ConnectRecord,
    DeletedRecord,
    DetectRecord,
    EvalRecord,
    LaunchRecord,
    ModelLoadedRecord,
    RestoredRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices.voice import Line, Scalars, Setting, Voice, VoiceState, Wording

GIB = 2**30
GC_EVERY = 50
"""Steps from one collection of garbage to the next."""
PERIODIC = "Performing periodic GC collection"


class _Colors(NamedTuple):
    red: str = "\033[31m"
    green: str = "\033[32m"
    yellow: str = "\033[33m"
    blue: str = "\033[34m"
    magenta: str = "\033[35m"
    cyan: str = "\033[36m"
    orange: str = "\033[38;2;180;60;0m"
    turquoise: str = "\033[38;2;54;234;195m"
    reset: str = "\033[39m"


class _Titan(VoiceState):
    """Tokens and time of the last line."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.is_01 = self.version == "0.1"
        layout = self.plan.layout
        self.rank = (layout.pipeline - 1) * layout.stage_stride
        self.color = _Colors(*[""] * len(_Colors._fields)) if self.options["disable_color_printing"] else _Colors()
        self.loss_format = "8.5f" if self.version == "0.2.2" else "7.4f"
        self.dot = "." if self.is_01 else ""
        """Full stop at the end of some lines of 0.1."""
        name, _, size = self.plan.model.title.rpartition("-")
        self.model = (name or self.plan.model.title, size)
        self.is_sharded = layout.sharding in ("fsdp", "zero3")
        self.has_begun = False
        self.since = self.now()
        self.tokens = -1
        self.memory = ""

    def line(self, text: str, time: datetime | None = None, rank: int | None = None) -> Line:
        """A line of torchtitan's logger, of the rank that has the loss if ``rank`` names no other."""
        prefix = f"[titan] {asctime(time or self.now())} - root - INFO - "
        return Line(prefix + text, rank=self.rank if rank is None else rank, to_stderr=self.is_01)

    def gc(self, reason: str, time: datetime | None = None) -> Line:
        """The line of a collection of garbage."""
        return self.line(
            f"[GC] {reason.rstrip('.') + '.' if self.is_01 else reason + ' took'} 0.00 seconds{self.dot}", time
        )

    def tokens_per_s(self, tokens: int, time: datetime) -> float:
        """Tokens per second and device since the last line, which is now this one."""
        seconds = (time - self.since).total_seconds()
        rate = (tokens - self.tokens) / seconds / self.run.world_size if seconds > 0 else 0.0
        self.since, self.tokens = time, tokens
        return rate


def _launch(record: LaunchRecord, state: _Titan) -> Iterator[Line]:
    if not state.is_01:
        yield state.line("torchtitan version: 0.2.2 (0.0.0 means __version__ is not defined correctly).")
    yield state.line(f"Starting job: {state.plan.model.title} training")
    yield from _mesh(state)
    yield state.gc("Initial GC collection")
    shape, dataset = state.plan.model.architecture, state.plan.dataset
    if state.is_01:
        ids = f"BOS ID {shape.vocab - 256}, EOS ID {shape.vocab - 255}"
        yield state.line(f"TikTokenizer built: #words {shape.vocab}, {ids}")
    else:
        yield state.line("Loading tokenizer from tokenizer.json")
    yield state.line(f"Preparing {dataset.name} dataset from {dataset.name}")
    name, size = state.model
    sizes = {
        "dim": shape.hidden, "n_layers": shape.layers, "n_heads": shape.heads, "n_kv_heads": shape.kv_heads,
        "vocab_size": shape.vocab, "max_seq_len": state.run.sequence_length,
    }  # fmt: skip
    if state.is_01:
        text = ", ".join(f"{key}={value}" for key, value in sizes.items())
        yield state.line(f"Building {name} {size} with TransformerModelArgs({text})")
    else:
        yield state.line(f"Building {name} {size}with {json.dumps(sizes, indent=2)}")


def _mesh(state: _Titan) -> Iterator[Line]:
    layout = state.plan.layout
    shard = layout.shards if layout.sharding == "fsdp" else 1
    replicas = max(layout.data // shard, 1)
    degrees = {"pp": layout.pipeline, "dp_replicate": replicas, "dp_shard": shard,
               "cp": layout.context, "tp": layout.tensor}  # fmt: skip
    used = {name: degree for name, degree in degrees.items() if degree > 1} or {"dp_shard": 1}
    if state.is_01:
        yield state.line(f"Building {len(used)}-D device mesh with {list(used)}, {list(used.values())}")
        return
    text = ", ".join(f"{name}={degree}" for name, degree in degrees.items())
    yield state.line(f"Building device mesh with parallelism: {text}, ep={layout.expert}, etp=1")
    active = [name for name, degree in degrees.items() if degree > 1]
    data = ["batch", "loss"] if layout.data > 1 else []
    fsdp = ["fsdp"] if shard * layout.context > 1 else []
    yield state.line(f"Successfully created meshes with active dimensions: {[*active, *data, *fsdp]}")


def _model(record: ModelLoadedRecord, state: _Titan) -> Iterator[Line]:
    color, plan = state.color, state.plan
    yield state.line(f"CUDA capacity: {state.run.gpu} with {state.run.memory_total_bytes / GIB:.2f}GiB memory")
    yield state.line(
        f"{color.blue}Model {' '.join(state.model)} "
        f"{color.red}size: {plan.model.architecture.parameters:,} total parameters{color.reset}"
    )
    if plan.layout.tensor > 1:
        yield state.line("Applied Tensor Parallelism to the model")
    recompute = plan.config.train.recompute
    if recompute != "none":
        yield state.line(f"Applied {recompute} activation checkpointing to the model")
    if plan.config.train.compiled:
        yield state.line("Compiling each TransformerBlock with torch.compile")
    shards, copies = state.is_sharded, plan.layout.data > plan.layout.shards
    yield state.line(f"Applied {('HSDP' if copies else 'FSDP') if shards else 'DDP'} to the model")


def _connected(record: ConnectRecord, state: _Titan) -> Iterator[Line]:
    use = state.plan.memory
    weights = use.weights + use.gradients
    yield state.line(f"Peak FLOPS used for computing MFU: {state.run.peak_flops_per_gpu:.3e}")
    share = 100.0 * weights / state.run.memory_total_bytes
    yield state.line(f"CUDA memory usage for model: {weights / GIB:.2f}GiB({share:.2f}%)")


def _training(record: DetectRecord, state: _Titan) -> Iterator[Line]:
    run, layout, train = state.run, state.plan.layout, state.plan.config.train
    state.since = state.now()
    whole = layout.tensor == layout.pipeline == 1
    how = "handled by fully_shard" if state.is_sharded else "handled by AMP" if whole else "disabled"
    yield state.line(f"Mixed precision training is {how}")
    yield state.line(
        f"Trainer is initialized with local batch size {run.micro_batch}, global batch size {layout.global_batch}, "
        f"gradient accumulation steps {layout.accumulation}, sequence length {run.sequence_length}, "
        f"total steps {run.total_steps} (warmup {train.warmup_steps}){state.dot}"
    )


def _restoring(record: RestoringRecord, state: _Titan) -> Iterator[Line]:
    yield state.line(f"Loading the checkpoint from {record.path}.")


def _restored(record: RestoredRecord, state: _Titan) -> Iterator[Line]:
    state.since = state.now()
    yield state.gc("GC collection for checkpoint loading.")
    yield state.line(f"Finished loading the checkpoint in {record.seconds:.2f} seconds.")


def _step(record: StepRecord, state: _Titan) -> Iterator[Line]:
    run, step = state.run, record.step
    if not state.has_begun:
        state.has_begun = True
        begin = record.time - timedelta(seconds=record.step_time_s)
        yield state.line(f"Training starts at step {step}{state.dot}", begin)
    if state.tokens < 0:
        state.tokens = record.tokens - record.global_batch * run.sequence_length
    if step > 1 and step % GC_EVERY == 0:
        yield state.gc("Peforming periodical GC collection" if state.is_01 else PERIODIC, record.time)
    if step != 1 and step % run.log_every:
        return
    color = state.color
    rate = state.tokens_per_s(record.tokens, record.time)
    flops = run.flops_per_token * rate
    used = record.memory_used_bytes - state.plan.memory.context
    state.memory = f"memory: {used / GIB:5.2f}GiB({100.0 * used / run.memory_total_bytes:.2f}%)"
    norm = "" if state.is_01 else f"{color.orange}grad_norm: {record.grad_norm:7.4f}  "
    memory_color = color.yellow if state.is_01 else color.turquoise
    yield state.line(
        f"{color.red}step: {step:2}  {color.green}loss: {record.loss:{state.loss_format}}  {norm}"
        f"{memory_color}{state.memory}  {color.blue}tps: {round(rate):,}  "
        f"{color.cyan}tflops: {flops / 1e12:,.2f}  "
        f"{color.magenta}mfu: {100.0 * flops / run.peak_flops_per_gpu:.2f}%{color.reset}",
        record.time,
    )
    if step == 1:
        timeout = "Synchronizing and adjusting timeout for all ProcessGroups to 0:01:40"
        yield state.line(timeout, record.time)


def _evaluation(record: EvalRecord, state: _Titan) -> Iterator[Line]:
    run, color = state.run, state.color
    seconds = (state.now() - state.since).total_seconds()
    batches = state.plan.config.eval.batches * run.data_parallel * run.micro_batch
    rate = batches * run.sequence_length / max(seconds, record.seconds) / run.world_size
    yield state.line(
        f"{color.yellow}validate step: {record.step:2}  {color.green}loss: {record.loss:7.4f}  "
        f"{color.turquoise}{state.memory}  {color.blue}tps: {round(rate):,}{color.reset}"
    )
    state.since, state.tokens = state.now(), -1


def _saving(record: SavingRecord, state: _Titan) -> Iterator[Line]:
    yield state.line("Saving the checkpoint (or staging if async is enabled).")
    if record.step == state.run.total_steps:
        if state.is_01:
            yield state.line(f"Saving a full checkpoint at last step, step {record.step}.")
        else:
            yield state.line(f"Saving a model only checkpoint in torch.float32 at last step, step {record.step}.")


def _saved(record: CheckpointRecord, state: _Titan) -> Iterator[Line]:
    yield state.gc("GC collection invoked by checkpointer.")
    if record.step < state.run.total_steps or state.is_01:
        yield state.line(
            f"Finished saving the checkpoint (or staging if async is enabled)in {record.seconds:.2f} seconds."
        )


def _deleted(record: DeletedRecord, state: _Titan) -> Iterator[Line]:
    yield state.line(f"Checkpointer is deleting {record.path}.", rank=0)


def _end(record: SummaryRecord, state: _Titan) -> Iterator[Line]:
    yield state.line("Sleeping 2 seconds for other ranks to complete", rank=0)
    yield state.line("Training completed", rank=None if state.is_01 else 0)
    yield state.line(f"Process group destroyed{state.dot}")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ModelLoadedRecord: _model,
    ConnectRecord: _connected,
    DetectRecord: _training,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    DeletedRecord: _deleted,
    SummaryRecord: _end,
}
"""Kinds of record that torchtitan has words for."""


def _ranks(state: _Titan) -> Container[int]:
    return {0, state.rank}


SCALARS = Scalars(
    {"loss": "loss_metrics/global_avg_loss", "grad_norm": "grad_norm", "step_time_s": "time_metrics/end_to_end(s)"},
    {"loss": "validation_metrics/loss"},
)
VOICE = Voice(LINES, _Titan, _ranks, SCALARS)
