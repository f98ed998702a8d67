"""The voice of Megatron-Bridge: Megatron-LM's lines with times in seconds, and a ``Step Time`` line before each.

Formats are those of the modules setup, config and utils.train_utils of NVIDIA-NeMo/Megatron-Bridge 0.6.0 (067f987d).
Rank 0 prints the step time, the last rank the iteration. Memory is in 10^9 bytes with five significant digits. The
arguments are those of the configuration that differ from the defaults, as far as the run decides them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from accelerate_sim.records import (
    DataRecord,
    DetectRecord,
    LaunchRecord,
    ModelLoadedRecord,
    RestoredRecord,
    StepRecord,
)
from accelerate_sim.sim.memory.memory import memory_use
from accelerate_sim.voices import megatron
from accelerate_sim.voices.megatron_state import Megatron
from accelerate_sim.voices.voice import Line, Setting, Voice, Wording

GB = 1e9
WORDS = megatron.LINES
RULE, THIN_RULE = "=" * 70, "-" * 70
FUSED_KERNELS = (
    "> compiling and loading", ">>> done with compiling and loading", "> learning rate decay", "> building Hugging",
)  # fmt: skip
"""Beginnings of lines of Megatron-LM 0.15 that Megatron-Bridge does not print."""


def _begin(setting: Setting) -> Any:
    """The state of Megatron-LM's voice at the version whose times are in seconds."""
    return megatron.VOICE.begin(replace(setting, version="0.15"))


def _launch(record: LaunchRecord, state: Megatron) -> Iterator[Line]:
    yield Line("\n".join(_summary(state)))
    yield Line("> initializing torch distributed ...")


def _summary(state: Megatron) -> Iterator[str]:
    """The rows of the configuration's summary."""
    config, layout, shape, run = state.plan.config, state.plan.layout, state.plan.model.architecture, state.run
    yield from ("", RULE, "Configuration Summary (Non-Default Values vs Megatron Core)", RULE)
    changed: dict[str, tuple[str, dict[str, tuple[object, object]]]] = {
        "optimizer": ("OptimizerConfig", {"bf16": (True, False), "lr": (config.train.lr, None)}),
        "ddp": (
            "DistributedDataParallelConfig",
            {"use_distributed_optimizer": (layout.sharding != "ddp", False), "grad_reduce_in_fp32": (True, False)},
        ),
        "model": (
            "TransformerConfig",
            {
                "hidden_size": (shape.hidden, 0), "num_attention_heads": (shape.heads, 0),
                "num_layers": (shape.layers, 0), "pipeline_model_parallel_size": (layout.pipeline, 1),
                "tensor_model_parallel_size": (layout.tensor, 1),
            },
        ),
    }  # fmt: skip
    for section, (parent, values) in changed.items():
        yield f"\n[{section}] Non-default values (vs Mcore {parent}):"
        for name, (value, default) in sorted(values.items()):
            if value != default:
                yield f"  {name}: {value!r}  (Mcore default: {default!r})"
    yield from ("\n" + THIN_RULE, "Other Configuration Values:", THIN_RULE)
    others: dict[str, dict[str, object]] = {
        "train": {
            "global_batch_size": layout.global_batch, "micro_batch_size": layout.micro_batch,
            "train_iters": run.total_steps,
        },
        "validation": {"eval_interval": config.eval.every or run.steps_per_epoch, "eval_iters": config.eval.batches},
        "scheduler": {"lr_decay_style": config.train.schedule, "lr_warmup_iters": config.train.warmup_steps},
        "checkpoint": {"ckpt_format": "torch_dist", "save_interval": config.checkpoint.every},
        "logger": {"log_interval": run.log_every, "log_throughput": state.throughput},
        "rng": {"seed": run.seed},
    }  # fmt: skip
    for section, figures in others.items():
        yield f"\n[{section}]:"
        yield from (f"  {name}: {value!r}" for name, value in figures.items())
    yield "\n" + RULE


def _initialized(record: ModelLoadedRecord, state: Megatron) -> Iterator[Line]:
    for line in WORDS[ModelLoadedRecord](record, state):
        if line.text == "building GPT model ...":
            yield state.datetime_line("after tokenizer is built")
        elif not line.text.startswith(FUSED_KERNELS):
            yield line


def _data(record: DataRecord, state: Megatron) -> Iterator[Line]:
    for line in WORDS[DataRecord](record, state):
        if "for GPT ..." not in line.text and "GPT datasets" not in line.text:
            yield line


def _training(record: DetectRecord, state: Megatron) -> Iterator[Line]:
    yield Line(f"Starting training loop at iteration {state.resumed_step}")


def _restored(record: RestoredRecord, state: Megatron) -> Iterator[Line]:
    for line in WORDS[RestoredRecord](record, state):
        yield line._replace(text=line.text.replace("[ t 1/", "[ t 0/").replace(" p 1/", " p 0/"))


def _step(record: StepRecord, state: Megatron) -> Iterator[Line]:
    run, steps, seconds = state.run, state.steps + 1, state.seconds + record.step_time_s
    if record.step % run.log_every == 0:
        tokens = record.tokens - max(state.tokens_before, 0)
        if state.tokens_before < 0:
            tokens = record.global_batch * run.sequence_length
        rate = state.flops_per_gpu * tokens / seconds
        yield Line(f"Step Time : {seconds / steps:.2f}s GPU utilization: {rate:.1f}MODEL_TFLOP/s/GPU")
    again = state.reports_memory and record.step <= state.resumed_step + 1
    for line in WORDS[StepRecord](record, state):
        yield _memory(record, line.rank, state) if line.text.startswith("[Rank ") else line
        state.reports_memory = state.reports_memory or (again and record.step % run.log_every == 0)


def _memory(record: StepRecord, rank: int, state: Megatron) -> Line:
    plan, layout = state.plan, state.plan.layout
    use = memory_use(plan.model.architecture, layout, plan.method, rank // layout.stage_stride)
    use = use.squeezed(plan.gpu.memory_bytes)
    held, peak, reserved = use.weights + use.gradients + use.optimizer, use.allocated, use.reserved
    figures = {
        "allocated": held, "active": held, "inactive": 0.0, "reserved": reserved, "max-allocated": peak,
        "max-active": peak, "max-inactive": reserved - peak, "max-reserved": reserved,
    }  # fmt: skip
    rows = "".join(f" | mem-{name}-gigabytes: {_five_digits(value / GB)}" for name, value in figures.items())
    tensors = len(list(plan.model.architecture.tensors())) * 4 // layout.pipeline
    return Line(
        f"[Rank {rank}] (after {record.step} iterations) memory (GB){rows} | mem-alloc-retires: 0 | "
        f"mem-allocated-count: {tensors}",
        rank=rank,
    )


def _five_digits(value: float) -> float | int:
    return round(value, 4 - math.floor(math.log10(value))) if value else 0


LINES: Mapping[type, Wording] = {
    **WORDS,
    LaunchRecord: _launch,
    ModelLoadedRecord: _initialized,
    DataRecord: _data,
    DetectRecord: _training,
    RestoredRecord: _restored,
    StepRecord: _step,
}
"""Kinds of record that Megatron-Bridge has words for."""

VOICE = Voice(LINES, _begin, megatron.VOICE.ranks)
