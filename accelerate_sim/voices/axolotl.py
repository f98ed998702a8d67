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
from accelerate_sim.voices.hf_logger import Trainer
from accelerate_sim.voices.voice import Bar, Line, Setting, Voice, Wording

GIB = 2**30
RESET = "\033[39m"
"""Default colour, which ends each line of the logger; only warnings have one of their own before them."""


class _Axolotl(Trainer):
    """The Trainer's state, and figures of memory, which stay the same for most steps."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.used_bytes, self.memory = 0, ""

    def memory_of(self, used_bytes: int) -> str:
        """The entries of memory, which are worded anew when the memory in use has changed."""
        if used_bytes != self.used_bytes:
            active, held = round(self.plan.memory.allocated / GIB, 2), round(used_bytes / GIB, 2)
            shown = (active, held) if self.is_4 else (f"'{active:.4g}'", f"'{held:.4g}'")
            self.used_bytes = used_bytes
            self.memory = (
                f"'memory/max_active (GiB)': {shown[0]}, 'memory/max_allocated (GiB)': {shown[0]}, "
                f"'memory/device_reserved (GiB)': {shown[1]}"
            )
        return self.memory


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


def _entry(record: StepRecord, loss: float, state: _Axolotl) -> str:
    """The dictionary of a logged step; written out, as a loop over its values would take longer than all the rest."""
    perplexity = round(math.exp(loss if loss < 700.0 else 700.0), 5)
    memory = state.memory_of(record.memory_used_bytes)
    rate = round(record.tokens_per_s / state.run.world_size, 2)
    epoch, tokens = record.step / state.run.steps_per_epoch, record.tokens
    if state.is_4:
        return (
            f"{{'loss': {round(loss, 4)}, 'grad_norm': {record.grad_norm}, 'learning_rate': {record.lr}, "
            f"'ppl': {perplexity}, {memory}, 'tokens/train_per_sec_per_gpu': {rate}, "
            f"'tokens/trainable': {tokens}, 'tokens/total': {tokens}, 'epoch': {round(epoch, 2)}}}"
        )
    return (
        f"{{'loss': '{loss:.4g}', 'grad_norm': '{record.grad_norm:.4g}', 'learning_rate': '{record.lr:.4g}', "
        f"'ppl': '{perplexity:.4g}', {memory}, "
        f"'tokens/train_per_sec_per_gpu': '{rate:.4g}', 'tokens/trainable': {tokens}, 'tokens/total': {tokens}, "
        f"'epoch': '{epoch:.4g}'}}"
    )


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
    StepRecord: hf.logged_as(_entry),
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    ExportingRecord: _end,
}
"""Kinds of record that axolotl and the Trainer have words for."""

VOICE = Voice(LINES, _Axolotl)
