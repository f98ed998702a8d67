"""The house voice before the first step: the run, its model, its data and the cluster."""

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
)
from accelerate_sim.records import (
    BatchRecord,
    ConnectRecord,
    DataRecord,
    DetectRecord,
    ExporterRecord,
    LaunchRecord,
    LinkTestRecord,
    ModelLoadedRecord,
    ModelRecord,
    OwnStateRecord,
    ProcessRecord,
    ResumeRecord,
    RunFacts,
    TightMemoryRecord,
    TokenizerRecord,
    UnknownLengthRecord,
)
from accelerate_sim.voices.voice import Line, Wording
from fake_torch_dist.terminal.descriptor import printable

GPUS_LISTED = 16
"""GPUs that get a line each when they are detected."""
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


SETUP: Mapping[type, Wording] = {
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
    OwnStateRecord: _own_state,
    UnknownLengthRecord: _unknown_length,
}
"""Kinds of record of the set-up."""
