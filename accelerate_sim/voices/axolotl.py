"""The voice of axolotl: the Trainer's lines with more figures, and its own logger's in colours, also on a pipe.

Formats are those of axolotl 0.18.0 (067b021c); the version is that of transformers below it. Not played: its logo.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from accelerate_sim.records import (
    DataRecord,
    ExportingRecord,
    LaunchRecord,
    ModelLoadedRecord,
    SavingRecord,
    StepRecord,
)
from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices import hf
from accelerate_sim.voices.hf import Trainer
from accelerate_sim.voices.voice import Bar, Line, Voice, Wording

GIB = 2**30
GREEN, RESET = "\033[32m", "\033[39m"


def _log(where: str, text: str, state: Trainer) -> Line:
    """A line of axolotl's logger; ``where`` is module, function and line."""
    process = 2048 + state.run.seed % 30000
    line = f"[{asctime(state.now())}] [INFO] [axolotl.{where}] [PID:{process}] [RANK:0] {text}"
    return Line(line if state.options["no_color"] else f"{GREEN}{line}{RESET}")


def _launch(record: LaunchRecord, state: Trainer) -> Iterator[Line]:
    yield _log("utils.config.normalize_config:190", "GPU memory usage baseline: 0.000GB ()", state)


def _model(record: ModelLoadedRecord, state: Trainer) -> Iterator[Line]:
    weights = state.plan.memory.weights / GIB
    yield _log("loaders.model._apply_activation_checkpointing:310", "Converting modules to torch.bfloat16", state)
    yield _log(
        "loaders.model.log_gpu_memory_usage:120", f"Memory usage after model load {weights:.3f}GiB active", state
    )


def _data(record: DataRecord, state: Trainer) -> Iterator[Line]:
    yield _log(
        "utils.data.sft._load_raw_datasets:320", f"Loading dataset: {record.dataset} with base_type: completion", state
    )
    yield _log("utils.trainer.calculate_total_num_steps:410", f"total_num_steps: {state.run.total_steps}", state)


def _step(record: StepRecord, state: Trainer) -> Iterator[Line | Bar]:
    run = state.run
    loss = (state.loss + record.loss) / (state.steps + 1)
    for item in hf.LINES[StepRecord](record, state):
        if isinstance(item, Bar):
            yield item
            continue
        held = record.memory_used_bytes / GIB
        values = {
            "loss": round(loss, 4) if state.is_4 else loss,
            "grad_norm": record.grad_norm,
            "learning_rate": record.lr,
            "ppl": round(math.exp(min(loss, 700.0)), 5),
            "memory/max_active (GiB)": round(state.plan.memory.allocated / GIB, 2),
            "memory/max_allocated (GiB)": round(state.plan.memory.allocated / GIB, 2),
            "memory/device_reserved (GiB)": round(held, 2),
            "tokens/train_per_sec_per_gpu": round(record.tokens_per_s / run.world_size, 2),
            "tokens/total": record.tokens,
            "tokens/trainable": record.tokens,
            "epoch": state.epoch(record.step),
        }
        yield Line(state.entry(values))


def _saving(record: SavingRecord, state: Trainer) -> Iterator[Line]:
    yield _log("core.trainers.base._save:613", f"Saving model checkpoint to {record.path}", state)


def _end(record: ExportingRecord, state: Trainer) -> Iterator[Line | Bar]:
    yield from hf.LINES[ExportingRecord](record, state)
    yield _log("train.save_trained_model:230", "Training completed! Saving trained model to " + record.path, state)


LINES: Mapping[type, Wording] = {
    **hf.LINES,
    LaunchRecord: _launch,
    ModelLoadedRecord: _model,
    DataRecord: _data,
    StepRecord: _step,
    SavingRecord: _saving,
    ExportingRecord: _end,
}
"""Kinds of record that axolotl and the Trainer have words for."""

VOICE = Voice(LINES, Trainer)
