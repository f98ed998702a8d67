"""The voice of LLaMA-Factory: the Trainer's lines between those of its own logger on standard output.

Formats are those of hiyouga/LLaMA-Factory 0.9.5 (ff6d4d12); the version is that of transformers below it. The Trainer's
banner is shown, since LLaMA-Factory sets its level to INFO.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from accelerate_sim.records import ExportingRecord, LaunchRecord, ModelLoadedRecord, StepRecord
from accelerate_sim.records.timestamps import to_seconds
from accelerate_sim.voices import hf
from accelerate_sim.voices.hf_logger import Trainer
from accelerate_sim.voices.voice import Bar, Line, Voice, Wording


def _log(module: str, text: str, state: Trainer, line: int = 143, rank: int = 0) -> Line:
    """A line of LLaMA-Factory's logger; the lines of rank 0 alone name the line of the logger's own function."""
    return Line(f"[INFO|{to_seconds(state.now())}] llamafactory.{module}:{line} >> {text}", rank=rank)


def _launch(record: LaunchRecord, state: Trainer) -> Iterator[Line]:
    world, local = state.run.world_size, state.run.gpus_per_node
    kind = "float16" if state.plan.config.train.precision == "fp16" else "bfloat16"
    for rank in range(world):
        text = (
            f"Process rank: {rank}, world size: {world}, device: cuda:{rank % local}, "
            f"distributed training: {world > 1}, compute dtype: torch.{kind}"
        )
        yield _log("hparams.parser", text, state, 651, rank)
    yield _log("data.loader", f"Loading dataset {state.plan.dataset.name}...", state)


def _model(record: ModelLoadedRecord, state: Trainer) -> Iterator[Line]:
    config = state.plan.config
    if config.train.recompute != "none":
        yield _log("model.model_utils.checkpointing", "Gradient checkpointing enabled.", state)
    yield _log("model.model_utils.attention", "Using torch SDPA for faster training and inference.", state)
    zero3 = state.plan.layout.sharding == "zero3"
    text = "DeepSpeed ZeRO3 detected, remaining" if zero3 else "Upcasting"
    yield _log("model.adapter", f"{text} trainable params {'in' if zero3 else 'to'} float32.", state)
    yield _log("model.adapter", "Fine-tuning method: Full", state)
    count = state.plan.model.architecture.parameters
    yield _log("model.loader", f"trainable params: {count:,} || all params: {count:,} || trainable%: 100.0000", state)


def _step(record: StepRecord, state: Trainer) -> Iterator[Line | Bar]:
    mean = (state.loss + state.counted(record.loss)) / (state.steps + 1)
    yield from hf.LINES[StepRecord](record, state)
    if state.options["webui"] and record.step % state.run.log_every == 0:
        epoch = state.epoch(record.step)
        yield _log(
            "train.callbacks",
            f"{{'loss': {mean:.4f}, 'learning_rate': {record.lr:2.4e}, 'epoch': {epoch:.2f}}}",
            state,
        )


def _end(record: ExportingRecord, state: Trainer) -> Iterator[Line | Bar]:
    yield from hf.LINES[ExportingRecord](record, state)
    yield Line(f"Figure saved at: {record.path}/training_loss.png")


LINES: Mapping[type, Wording] = {
    **hf.LINES,
    LaunchRecord: _launch,
    ModelLoadedRecord: _model,
    StepRecord: _step,
    ExportingRecord: _end,
}
"""Kinds of record that LLaMA-Factory and the Trainer have words for."""


def _ranks(state: Trainer) -> Container[int]:
    """All ranks: each names its device."""
    return range(state.run.world_size)


VOICE = Voice(LINES, Trainer, _ranks)
