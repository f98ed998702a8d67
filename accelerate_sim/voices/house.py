"""The house voice: records as sentences, with fields between bars. A pure function of each record."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from accelerate_sim.config.host_names import host_name
from accelerate_sim.display.units import (
    bytes_text,
    count_text,
    gib_text,
    machines_text,
    message_text,
    mfu_text,
    perplexity_text,
)
from accelerate_sim.records import (
    BatchRecord,
    CheckpointRecord,
    CollectiveRecord,
    ConnectRecord,
    DataRecord,
    DeletedRecord,
    DetectRecord,
    EvalRecord,
    ExporterRecord,
    ExportFileRecord,
    ExportingRecord,
    ExportRecord,
    LaunchRecord,
    LinkTestRecord,
    LitterRecord,
    ModelLoadedRecord,
    ModelRecord,
    NoHolesRecord,
    OwnStateRecord,
    ProcessRecord,
    RankStepRecord,
    RestoredRecord,
    RestoringRecord,
    ResumeRecord,
    RunFacts,
    SavingRecord,
    StepRecord,
    SummaryRecord,
    TightMemoryRecord,
    TokenizerRecord,
    UnknownLengthRecord,
    WarningRecord,
)
from accelerate_sim.voices.voice import Line, Voice, Wording
from fake_torch_dist.terminal.descriptor import printable

GPUS_LISTED = 16
"""GPUs that get a line each when they are detected."""
SHARDS_LISTED = 40
"""Weight files that get a line each when they are written; the last one gets a line in any case."""
Lines: TypeAlias = Iterable[Line]
STARTS = {"scratch": "random weights", "checkpoint": "weights of an earlier run", "finetune": "pretrained weights"}
"""Words for what training starts from, by ``train.start``."""


# --- The run begins ---------------------------------------------------------------------------------


def _launch(record: LaunchRecord, run: RunFacts) -> Iterator[Line]:
    size = machines_text(run.nodes, run.gpus_per_node)
    yield Line(f"Run {run.run}: {record.script} on {size} = {run.world_size:,} ranks | seed {run.seed}")
    if record.attempt:
        yield Line(f"Attempt {record.attempt + 1}: the launcher has restarted the job")


def _resume(record: ResumeRecord, run: RunFacts) -> Iterator[Line]:
    for sentence in record.damaged:
        yield Line(f"Checkpoint {printable(sentence)}", logging.WARNING)
    yield Line(f"Going on from {printable(record.checkpoint or f'the beginning of run {run.run}')}")


def _tight_memory(record: TightMemoryRecord, run: RunFacts) -> Lines:
    return (Line(record.sentence, logging.WARNING),)


def _process(record: ProcessRecord, run: RunFacts) -> Lines:
    text = (
        f"Process index: {record.rank} | local process index: {record.local_rank} | device: cuda:{record.local_rank} | "
        f"{host_name(run.host, record.node)}"
    )
    return (Line(text, rank=record.rank),)


def _exporter(record: ExporterRecord, run: RunFacts) -> Lines:
    return (Line(f"Metrics for {record.tracker}: {record.url}", rank=record.rank),)


# --- Model and data ---------------------------------------------------------------------------------


def _model(record: ModelRecord, run: RunFacts) -> Lines:
    experts = f" | {record.experts} experts, {record.active_experts} active" if record.experts else ""
    active = f" | {count_text(record.active_parameters)} active" if record.experts else ""
    only = " | configuration only, weights at random" if record.start == "scratch" else ""
    return (
        Line(f"Loading model {record.name} ({record.model_class}){only}"),
        Line(
            f"Architecture: {record.layers:,} layers | hidden {record.hidden:,} | {record.heads:,} heads | "
            f"{record.kv_heads:,} kv heads | ffn {record.ffn:,} | vocab {record.vocab:,} | "
            f"context {record.context:,}{experts}"
        ),
        Line(
            f"Parameters: {record.parameters:,} ({count_text(record.parameters)}){active} | "
            f"weights {bytes_text(record.weight_bytes)} in bf16"
        ),
    )


def _model_loaded(record: ModelLoadedRecord, run: RunFacts) -> Lines:
    done = "initialized" if record.start == "scratch" else "loaded"
    return (Line(f"Model {done} in {record.seconds:.1f} s ({STARTS[record.start]}, step 0)"),)


def _tokenizer(record: TokenizerRecord, run: RunFacts) -> Lines:
    return (Line(f"Tokenizer: {record.name} | vocabulary {record.vocab_size:,} tokens"),)


def _own_state(record: OwnStateRecord, run: RunFacts) -> Lines:
    return (Line(f"Saving current state to {record.path}" if record.saving else f"Loading states from {record.path}"),)


def _unknown_length(record: UnknownLengthRecord, run: RunFacts) -> Lines:
    return (Line("The used dataset had no length, returning gathered tensors. Drop the remainder yourself."),)


def _data(record: DataRecord, run: RunFacts) -> Iterator[Line]:
    title = f"{record.dataset}, subset {record.subset}" if record.subset else record.dataset
    yield Line(f"Dataset: {title} | {record.samples:,} samples | {record.tokens:,} tokens")
    if ramp := record.ramp:
        yield Line(
            f"Batch ramp: from {ramp.start:,} sequences by {ramp.increment:,} at a time over the first "
            f"{ramp.samples:,} samples, {record.global_batch:,} from step {ramp.whole_from_step:,} on"
        )
    yield Line(
        f"{_batch_text(record, run)} | sequence length {run.sequence_length:,} | "
        f"{record.tokens_per_step:,} tokens a step"
    )
    planned = record.planned_tokens
    tokens = f"{planned // run.epochs:,} tokens an epoch" if record.epochs_alike else f"{planned:,} tokens in all"
    yield Line(
        f"Steps: {run.steps_per_epoch:,} an epoch x {run.epochs:,} epochs | {tokens} | "
        f"the run reads {_share_read(record)}"
    )


def _share_read(record: DataRecord) -> str:
    """The share of its dataset that a run reads, and how often."""
    planned = record.planned_tokens
    share, passes = min(planned, record.tokens) / record.all_tokens, planned / record.tokens
    if share >= 1:
        return f"{planned / record.all_tokens:.2f} times the whole dataset"
    often = f", {float(f'{passes:.2f}'):g} times" if passes > 1 else ""
    return f"{share * 100:.3g} % of the dataset{often}"


def _batch(record: BatchRecord, run: RunFacts) -> Lines:
    return (Line(f"{_batch_text(record, run)} from step {record.step:,} on"),)


def _batch_text(record: DataRecord | BatchRecord, run: RunFacts) -> str:
    return (
        f"Batch: global {record.global_batch:,} sequences = micro batch {run.micro_batch:,} x DP {run.data_parallel:,} "
        f"x accumulation {record.accumulation:,}"
    )


# --- The cluster ------------------------------------------------------------------------------------


def _connect(record: ConnectRecord, run: RunFacts) -> Lines:
    size = machines_text(run.nodes, run.gpus_per_node)
    return (
        Line(
            f"Distributed environment: backend nccl | NCCL version {record.nccl_version} | "
            f"world size {run.world_size:,} | {size}"
        ),
        Line(f"Parallel layout: {record.layout}"),
    )


def _link_test(record: LinkTestRecord, run: RunFacts) -> Lines:
    text = (
        f"All-reduce test: {message_text(record.bytes)} over {record.ranks:,} ranks in {record.seconds * 1e3:.2f} ms | "
        f"{record.algorithm}/{record.protocol} | algbw {record.algbw_bytes_per_s / 1e9:.1f} GB/s | "
        f"busbw {record.busbw_bytes_per_s / 1e9:.1f} GB/s"
    )
    return (Line(text),)


def _detect(record: DetectRecord, run: RunFacts) -> Iterator[Line]:
    world = run.world_size
    yield Line(f"Detected {world:,} x {run.gpu}")
    for rank in range(min(world, GPUS_LISTED)):
        node, local = divmod(rank, run.gpus_per_node)
        memory = gib_text(run.memory_total_bytes)
        yield Line(f"  rank {rank:2d} | {host_name(run.host, node)} GPU {local} | {run.gpu} | {memory}")
    if world > GPUS_LISTED:
        yield Line(f"  ... and {world - GPUS_LISTED:,} more GPUs")
    if rate := record.fault_rate:
        drawn = f"{rate:g} per GPU-hour (faults.rate) are drawn for --plan alone"
        yield Line(f"Faults: {drawn}; this run goes on without them")


# --- Training ---------------------------------------------------------------------------------------


def _step(record: StepRecord, run: RunFacts) -> Iterator[Line]:
    if record.step % run.log_every:
        return
    text = (
        f"step {record.step} | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"grad_norm {record.grad_norm:.3f} | lr {record.lr:.2e} | tokens/s {record.tokens_per_s:,.0f} | "
        f"MFU {mfu_text(record.mfu)} | mem {record.memory_used_bytes / 2**30:.1f}/{gib_text(run.memory_total_bytes)}"
    )
    yield Line(text)
    if record.load_balancing_loss is not None:
        yield Line(f"Experts | load_balancing_loss {record.load_balancing_loss:.4f} | step {record.step}")


def _rank_step(record: RankStepRecord, run: RunFacts) -> Lines:
    text = (
        f"step {record.step} on {run.host}{record.node} | own loss {record.loss:.4f} | "
        f"mem {record.memory_used_bytes / 2**30:.1f}/{gib_text(run.memory_total_bytes)} | "
        f"data wait {record.data_wait_s * 1e3:.1f} ms | node tokens/s {record.node_tokens_per_s:,.0f}"
    )
    return (Line(text, rank=record.rank, time=record.time),)


def _collective(record: CollectiveRecord, run: RunFacts) -> Lines:
    """A timed collective, in the terms of nccl-tests."""
    where = f"{record.nodes} nodes" if record.nodes > 1 else "1 node"
    text = (
        f"NCCL {record.collective} ({record.axis} parallel) | {message_text(record.bytes)} over {record.ranks} ranks, "
        f"{where} | {record.algorithm}/{record.protocol} | {record.seconds * 1e3:.3f} ms | "
        f"algbw {record.algbw_bytes_per_s / 1e9:.1f} GB/s | busbw {record.busbw_bytes_per_s / 1e9:.1f} GB/s"
    )
    return (Line(text),)


def _warning(record: WarningRecord, run: RunFacts) -> Lines:
    return (Line(record.message, logging.WARNING, record.rank),)


def _evaluation(record: EvalRecord, run: RunFacts) -> Lines:
    verdict = "best so far" if record.best else "not the best so far"
    text = (
        f"Validation | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"{record.seconds:.1f} s | {verdict}"
    )
    return (Line(text),)


# --- Checkpoints ------------------------------------------------------------------------------------


def _saving(record: SavingRecord, run: RunFacts) -> Lines:
    sizes = f"weights {bytes_text(record.weight_bytes)} + optimizer {bytes_text(record.optimizer_bytes)}"
    return (Line(f"Saving checkpoint {printable(record.path)} | {sizes}"),)


def _saved(record: CheckpointRecord, run: RunFacts) -> Lines:
    rate = record.bytes / record.seconds / 1e9
    path, size = printable(record.path), bytes_text(record.bytes)
    return (Line(f"Checkpoint saved: {path} | {size} | {record.seconds:.1f} s | {rate:.1f} GB/s"),)


def _deleted(record: DeletedRecord, run: RunFacts) -> Lines:
    kept = f"the last {record.keep_last}" + (f" and the best {record.keep_best}" if record.keep_best else "")
    return (Line(f"Deleted old checkpoint {printable(record.path)} (keeping {kept})"),)


def _litter(record: LitterRecord, run: RunFacts) -> Lines:
    left = f"Files of a deleted checkpoint are left in {printable(record.directory)} as .tmp-*: {record.reason}"
    text = f"{left}. They are removed at the end of the run or by --resume auto, if that is possible then"
    return (Line(text, logging.WARNING),)


def _no_holes(record: NoHolesRecord, run: RunFacts) -> Lines:
    where = f"{printable(record.directory)} is on a file system without sparse files"
    return (Line(f"{where}: tensors are written with small shapes", logging.WARNING),)


def _restoring(record: RestoringRecord, run: RunFacts) -> Lines:
    return (Line(f"Loading states from {printable(record.path)} | {bytes_text(record.bytes)}"),)


def _restored(record: RestoredRecord, run: RunFacts) -> Lines:
    return (Line(f"Resumed after step {record.step:,} in {record.seconds:.1f} s"),)


# --- The end ----------------------------------------------------------------------------------------


def _exporting(record: ExportingRecord, run: RunFacts) -> Lines:
    return (Line(f"Exporting {record.model} to {printable(record.path)}"),)


def _export_file(record: ExportFileRecord, run: RunFacts) -> Lines:
    if record.shard <= SHARDS_LISTED or record.shard == record.shards:
        return (Line(f"  {record.name} | {bytes_text(record.bytes)}"),)
    if record.shard == SHARDS_LISTED + 1:
        return (Line(f"  ... and {record.shards - SHARDS_LISTED - 1} more"),)
    return ()


def _export(record: ExportRecord, run: RunFacts) -> Lines:
    files = f"{record.weight_files} weight file{'s' * (record.weight_files > 1)}"
    return (Line(f"Exported {files} | {bytes_text(record.bytes)}"),)


def _summary(record: SummaryRecord, run: RunFacts) -> Lines:
    return (Line(f"Training finished successfully. Model: {printable(record.export_path)}"),)


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ResumeRecord: _resume,
    TightMemoryRecord: _tight_memory,
    ProcessRecord: _process,
    ExporterRecord: _exporter,
    ModelRecord: _model,
    ModelLoadedRecord: _model_loaded,
    TokenizerRecord: _tokenizer,
    DataRecord: _data,
    BatchRecord: _batch,
    ConnectRecord: _connect,
    LinkTestRecord: _link_test,
    DetectRecord: _detect,
    StepRecord: _step,
    RankStepRecord: _rank_step,
    CollectiveRecord: _collective,
    WarningRecord: _warning,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    DeletedRecord: _deleted,
    LitterRecord: _litter,
    NoHolesRecord: _no_holes,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    ExportingRecord: _exporting,
    ExportFileRecord: _export_file,
    ExportRecord: _export,
    OwnStateRecord: _own_state,
    UnknownLengthRecord: _unknown_length,
    SummaryRecord: _summary,
}
"""Every kind of record that the house voice mentions. GPU grids and the summary's table are drawn, not worded."""

VOICE = Voice(LINES, begin=lambda setting: setting.run, is_house=True)
