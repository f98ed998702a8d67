"""The voice of LLaMA-Factory: the Trainer's lines between those of its own logger on standard output.

Formats are those of hiyouga/LLaMA-Factory 0.9.5 (ff6d4d12); the version is that of transformers below it. The Trainer's
banner is shown, since LLaMA-Factory sets its level to INFO.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelerate_sim.records import DataRecord, ExportingRecord, LaunchRecord, ModelLoadedRecord, StepRecord
from accelerate_sim.records.timestamps import to_seconds
from accelerate_sim.voices import hf
from accelerate_sim.voices.hf import Trainer
from accelerate_sim.voices.voice import Bar, Line, Voice, Wording


def _log(module: str, text: str, state: Trainer) -> Line:
    """A line of LLaMA-Factory's logger, which names the line of its own function for rank 0."""
    return Line(f"[INFO|{to_seconds(state.now())}] llamafactory.{module}:143 >> {text}")


def _launch(record: LaunchRecord, state: Trainer) -> Iterator[Line]:
    world = state.run.world_size
    yield _log(
        "hparams.parser",
        f"Process rank: 0, world size: {world}, device: cuda:0, distributed training: {world > 1}, "
        "compute dtype: torch.bfloat16",
        state,
    )


def _data(record: DataRecord, state: Trainer) -> Iterator[Line]:
    yield _log("data.loader", f"Loading dataset {record.dataset}...", state)


def _model(record: ModelLoadedRecord, state: Trainer) -> Iterator[Line]:
    config = state.plan.config
    if config.train.recompute != "none":
        yield _log("model.model_utils.checkpointing", "Gradient checkpointing enabled.", state)
    yield _log("model.model_utils.attention", "Using torch SDPA for faster training and inference.", state)
    yield _log("model.adapter", "Fine-tuning method: Full", state)
    count = state.plan.model.architecture.parameters
    yield _log("model.loader", f"trainable params: {count:,} || all params: {count:,} || trainable%: 100.0000", state)


def _step(record: StepRecord, state: Trainer) -> Iterator[Line | Bar]:
    mean = (state.loss + record.loss) / (state.steps + 1)
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
    DataRecord: _data,
    ModelLoadedRecord: _model,
    StepRecord: _step,
    ExportingRecord: _end,
}
"""Kinds of record that LLaMA-Factory and the Trainer have words for."""

VOICE = Voice(LINES, Trainer)
