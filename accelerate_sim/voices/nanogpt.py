"""The voice of nanoGPT's training script: ``iter`` and ``step`` lines of rank 0 on standard output.

Formats are those of karpathy/nanoGPT at 3adf61e1. Iterations count from 0; MFU is -100 for the first five and then an
average that forgets slowly. The training loss of a validation line is the last iteration's, as the run estimates none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from accelerate_sim.records import (
    DataRecord,
    EvalRecord,
    LaunchRecord,
    ModelRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
)
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

WARM_UP = 5
"""Iterations before MFU is estimated."""
MFU_DECAY = 0.9
GPT2_VOCABULARY = 50_257


class _NanoGpt(VoiceState):
    """The average of MFU and the last loss."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.mfu = -1.0
        self.iterations = 0
        self.loss = 0.0


def _launch(record: LaunchRecord, state: _NanoGpt) -> Iterator[Line]:
    yield Line(f"tokens per iteration will be: {state.plan.layout.tokens_per_step:,}")


def _model(record: ModelRecord, state: _NanoGpt) -> Iterator[Line]:
    shape = state.plan.model.architecture
    scratch = record.start == "scratch"
    yield Line(
        "Initializing a new model from scratch" if scratch else f"Initializing from pretrained weights: {record.name}"
    )
    if scratch and record.vocab == GPT2_VOCABULARY:
        yield Line("defaulting to vocab_size of GPT-2 to 50304 (50257 rounded up for efficiency)")
    yield Line(f"number of parameters: {record.parameters / 1e6:.2f}M")
    tensors = list(shape.tensors())
    sizes = [_elements(tensor.shape) for tensor in tensors]
    decayed = [size for tensor, size in zip(tensors, sizes, strict=True) if len(tensor.shape) >= 2]
    rest = [size for tensor, size in zip(tensors, sizes, strict=True) if len(tensor.shape) < 2]
    yield Line(f"num decayed parameter tensors: {len(decayed)}, with {sum(decayed):,} parameters")
    yield Line(f"num non-decayed parameter tensors: {len(rest)}, with {sum(rest):,} parameters")
    yield Line("using fused AdamW: True")


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _data(record: DataRecord, state: _NanoGpt) -> Iterator[Line]:
    if state.plan.config.train.compiled:
        yield Line("compiling the model... (takes a ~minute)")


def _restoring(record: RestoringRecord, state: _NanoGpt) -> Iterator[Line]:
    yield Line(f"Resuming training from {Path(record.path).parent}")


def _step(record: StepRecord, state: _NanoGpt) -> Iterator[Line]:
    iteration = record.step - 1
    state.loss = record.loss
    if iteration % state.run.log_every == 0:
        if state.iterations >= WARM_UP:
            first = state.mfu == -1.0
            state.mfu = record.mfu if first else MFU_DECAY * state.mfu + (1.0 - MFU_DECAY) * record.mfu
        yield Line(
            f"iter {iteration}: loss {record.loss:.4f}, time {record.step_time_s * 1000:.2f}ms, "
            f"mfu {state.mfu * 100:.2f}%"
        )
    state.iterations += 1


def _evaluation(record: EvalRecord, state: _NanoGpt) -> Iterator[Line]:
    yield Line(f"step {record.step}: train loss {state.loss:.4f}, val loss {record.loss:.4f}")


def _saving(record: SavingRecord, state: _NanoGpt) -> Iterator[Line]:
    yield Line(f"saving checkpoint to {Path(record.path).parent}")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ModelRecord: _model,
    DataRecord: _data,
    RestoringRecord: _restoring,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
}
"""Kinds of record that nanoGPT has words for."""

VOICE = Voice(LINES, _NanoGpt)
