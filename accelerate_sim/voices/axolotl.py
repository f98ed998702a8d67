"""The voice of axolotl: the Trainer's lines with more figures, and its own logger's, which end with a colour's code.

Formats are those of axolotl 0.18.0 (067b021c); the version is that of transformers below it. Not played: its logo, the
lines about files of the tokenizer and the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from accelerate_sim.records import (
    DetectRecord,
    EvalRecord,
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
RESET = "\033[39m"
"""Default colour, which ends each line of the logger; only warnings have one of their own before them."""


def _log(module: str, text: str, state: Trainer) -> Line:
    """A line of axolotl's logger on rank 0, which is not named."""
    line = f"[{asctime(state.now())}] [INFO] [axolotl.{module}] {text}"
    return Line(line if state.options["no_color"] else line + RESET)


def _launch(record: LaunchRecord, state: Trainer) -> Iterator[Line]:
    train, layout, run = state.plan.config.train, state.plan.layout, state.run
    config = {
        "base_model": state.plan.model.title, "bf16": train.precision != "fp16", "datasets": [state.plan.dataset.name],
        "gradient_accumulation_steps": layout.accumulation, "learning_rate": train.lr, "logging_steps": run.log_every,
        "lr_scheduler": train.schedule, "max_steps": run.total_steps, "micro_batch_size": layout.micro_batch,
        "num_epochs": run.epochs, "seed": run.seed, "sequence_len": run.sequence_length,
        "warmup_steps": train.warmup_steps, "weight_decay": train.weight_decay, "world_size": run.world_size,
    }  # fmt: skip
    yield _log("cli.config", f"config:\n{json.dumps(config, indent=2, sort_keys=True)}", state)
    digest = f"{run.seed * 0x9E3779B97F4A7C15 % 2**64:016x}{run.total_steps:016x}"
    yield _log("utils.data.shared", f"Unable to find prepared dataset in last_run_prepared/{digest}", state)
    yield _log("utils.data.sft", "Loading raw datasets...", state)
    yield _log("utils.data.sft", f"Maximum number of steps set at {run.total_steps}", state)


def _model(record: ModelLoadedRecord, state: Trainer) -> Iterator[Line]:
    kind = "float16" if state.plan.config.train.precision == "fp16" else "bfloat16"
    yield _log("loaders.model", f"Converting modules to torch.{kind}", state)


def _begin(record: DetectRecord, state: Trainer) -> Iterator[Line | Bar]:
    yield _log("train", "Starting trainer...", state)
    yield from hf.LINES[DetectRecord](record, state)


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
            "tokens/trainable": record.tokens,
            "tokens/total": record.tokens,
            "epoch": state.epoch(record.step),
        }
        yield Line(state.entry(values))


def _evaluation(record: EvalRecord, state: Trainer) -> Iterator[Line]:
    values = hf.evaluation(record, state)
    epoch = values.pop("epoch")
    figures = {
        "eval_ppl": round(math.exp(min(record.loss, 700.0)), 5),
        "memory/max_active (GiB)": round(state.plan.memory.allocated / GIB, 2),
        "memory/max_allocated (GiB)": round(state.plan.memory.allocated / GIB, 2),
        "memory/device_reserved (GiB)": round(state.plan.memory.reserved / GIB, 2),
    }
    yield Line(state.entry(values | figures | {"epoch": epoch}))


def _saving(record: SavingRecord, state: Trainer) -> Iterator[Line]:
    yield _log("core.trainers.base", f"Saving model checkpoint to {record.path}", state)


def _end(record: ExportingRecord, state: Trainer) -> Iterator[Line | Bar]:
    yield from hf.LINES[ExportingRecord](record, state)
    yield _log("train", f"Training completed! Saving trained model to {Path(record.path).parent}.", state)


LINES: Mapping[type, Wording] = {
    **hf.LINES,
    LaunchRecord: _launch,
    ModelLoadedRecord: _model,
    DetectRecord: _begin,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    ExportingRecord: _end,
}
"""Kinds of record that axolotl and the Trainer have words for."""

VOICE = Voice(LINES, Trainer)
