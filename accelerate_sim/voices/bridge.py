"""The voice of Megatron-Bridge: Megatron-LM's lines with times in seconds, and a ``Step Time`` line before each.

Formats are those of the module training.utils.train_utils of NVIDIA-NeMo/Megatron-Bridge 0.6.0 (067f987d). Rank 0
prints the step time, the last rank the iteration. Memory is in GB with five significant digits. No arguments are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from accelerate_sim.records import LaunchRecord, StepRecord
from accelerate_sim.sim.memory.memory import memory_use
from accelerate_sim.voices import megatron
from accelerate_sim.voices.voice import Line, Setting, Voice, Wording

GB = 2**30
WORDS = megatron.LINES


def _begin(setting: Setting) -> Any:
    """The state of Megatron-LM's voice at the version whose times are in seconds."""
    return megatron.VOICE.begin(replace(setting, version="0.15"))


def _launch(record: LaunchRecord, state: Any) -> Iterator[Line]:
    yield Line("> initializing torch distributed ...")


def _step(record: StepRecord, state: Any) -> Iterator[Line]:
    run, steps, seconds = state.run, state.steps + 1, state.seconds + record.step_time_s
    if record.step % run.log_every == 0:
        tokens = record.tokens - max(state.tokens_before, 0)
        if state.tokens_before < 0:
            tokens = record.global_batch * run.sequence_length
        rate = state.flops_per_gpu * tokens / seconds
        yield Line(f"Step Time : {seconds / steps:.2f}s GPU utilization: {rate:.1f}MODEL_TFLOP/s/GPU")
    for line in WORDS[StepRecord](record, state):
        yield _memory(record, line.rank, state) if line.text.startswith("[Rank ") else line


def _memory(record: StepRecord, rank: int, state: Any) -> Line:
    plan, layout = state.plan, state.plan.layout
    use = memory_use(plan.model.architecture, layout, plan.method, rank // layout.stage_stride)
    use = use.squeezed(plan.gpu.memory_bytes)
    held = (use.weights + use.gradients + use.optimizer) / GB
    return Line(
        f"[Rank {rank}] (after {record.step} iterations) memory (GB) | mem-allocated-gigabytes: {held:.5g} | "
        f"mem-max-allocated-gigabytes: {use.allocated / GB:.5g} | mem-max-reserved-gigabytes: {use.reserved / GB:.5g}",
        rank=rank,
    )


LINES: Mapping[type, Wording] = {**WORDS, LaunchRecord: _launch, StepRecord: _step}
"""Kinds of record that Megatron-Bridge has words for."""

VOICE = Voice(LINES, _begin, megatron.VOICE.ranks)
