"""The voice of nanochat's base_train: set-up, and a line for each step, on standard output.

Formats are those of the script base_train of karpathy/nanochat at 92d63d4. Steps count from 0 and each has a line,
whatever ``log.every`` is. The loss is an average that forgets slowly, divided by the weight it has gathered; a
checkpoint holds it, the total time and the lowest validation, so that a resumed run goes on with them. Bits per
byte are the validation loss over BYTES_PER_TOKEN, since the run knows no bytes. The logger writes to
standard error. Not played: the banner, the scaling of learning rates, the CORE metric, samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from accelerate_sim.records import (
    DataRecord,
    EvalRecord,
    LaunchRecord,
    ModelRecord,
    RestoredRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

MIB = 2**20
BYTES_PER_TOKEN = 4.7
"""Bytes of English text that a token of a vocabulary of 65,536 stands for."""
GREEN_INFO = "\033[32m\033[1mINFO\033[0m"
DECAY = 0.9
REMEMBERED = 400
"""Steps after which nothing of a loss is left in the average."""
WARM_UP = 10
"""Steps that the total time and the estimate of the rest leave out."""


class _NanoChat(VoiceState):
    """The average of the loss, the time of the counted steps and the lowest validation."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.loss = 0.0
        self.weight = 1.0
        self.seconds = 0.0
        self.memory_bytes = 0
        self.lowest_bpb = math.inf

    def info(self, module: str, text: str, rank: int = 0) -> Line:
        """A line of the logger, whose level is green and bold on pipes, too."""
        line = f"{asctime(self.now())} - nanochat.{module} - {GREEN_INFO} - {text}"
        return Line(line, rank=rank, to_stderr=True)


def _launch(record: LaunchRecord, state: _NanoChat) -> Iterator[Line]:
    run = state.run
    yield state.info("common", f"Distributed world size: {run.world_size}")
    yield Line(f"GPU: {run.gpu} | Peak FLOPS (BF16): {run.peak_flops_per_gpu:.2e}")
    yield Line("COMPUTE_DTYPE: torch.bfloat16 (auto-detected: CUDA SM 90 (bf16 supported))")
    yield Line("✓ Using Flash Attention 3: efficient, new and awesome.")


def _model(record: ModelRecord, state: _NanoChat) -> Iterator[Line]:
    shape = state.plan.model.architecture
    config = {
        "sequence_len": state.run.sequence_length, "vocab_size": record.vocab, "n_layer": record.layers,
        "n_head": record.heads, "n_kv_head": record.kv_heads, "n_embd": record.hidden,
    }  # fmt: skip
    yield Line(f"Vocab size: {record.vocab:,}")
    yield Line(f"Model config:\n{json.dumps(config, indent=2)}")
    head = 0 if shape.tied_embeddings else shape.head_parameters
    counts = {
        "wte": shape.embedding_parameters, "lm_head": head,
        "transformer_matrices": record.parameters - shape.embedding_parameters - head, "total": record.parameters,
    }  # fmt: skip
    yield Line("Parameter counts:")
    for name, count in counts.items():
        yield Line(f"{name:24s}: {count:,}")
    yield Line(f"Estimated FLOPs per token: {state.run.flops_per_token:e}")


def _data(record: DataRecord, state: _NanoChat) -> Iterator[Line]:
    run = state.run
    world = run.micro_batch * run.sequence_length * run.data_parallel
    rank = run.micro_batch * run.sequence_length
    yield Line(f"Using user-provided number of iterations: {run.total_steps:,}")
    yield Line(f"Total number of training tokens: {record.planned_tokens:,}")
    parameters = state.plan.model.architecture.parameters
    yield Line(f"Tokens : Scaling params ratio: {record.planned_tokens / parameters:.2f}")
    yield Line(f"Total training FLOPs estimate: {run.flops_per_token * record.planned_tokens:e}")
    yield Line(f"Tokens / micro-batch / rank: {run.micro_batch} x {run.sequence_length} = {rank:,}")
    yield Line(f"Tokens / micro-batch: {world:,}")
    yield Line(f"Total batch size {record.tokens_per_step:,} => gradient accumulation steps: {record.accumulation}")


def _restored(record: RestoredRecord, state: _NanoChat) -> Iterator[Line]:
    """Restore the running figures of the steps before the checkpoint. No line is printed."""
    from accelerate_sim.sim.run import Run

    run, steps = Run.of(state.plan), record.step
    state.loss, state.weight = 0.0, DECAY**steps
    for step in range(max(steps - REMEMBERED, 0), steps):
        state.loss = DECAY * state.loss + (1.0 - DECAY) * run.loss_at(step)
    state.seconds = sum(run.timing(step).seconds for step in range(WARM_UP + 1, steps))
    validated = run.timeline.calendar.validations(steps)
    state.lowest_bpb = min((_bits(run.loss.validation(step)) for step in validated), default=math.inf)
    return iter(())


def _bits(loss: float) -> float:
    """Bits per byte at a loss in nats per token."""
    return loss / math.log(2.0) / BYTES_PER_TOKEN


def _step(record: StepRecord, state: _NanoChat) -> Iterator[Line]:
    run, step = state.run, record.step - 1
    state.loss = DECAY * state.loss + (1.0 - DECAY) * record.loss
    state.weight *= DECAY
    state.memory_bytes = max(state.memory_bytes, record.memory_used_bytes)
    if step > WARM_UP:
        state.seconds += record.step_time_s
    eta = ""
    if (counted := step - WARM_UP) > 0:
        eta = f" | eta: {(run.total_steps - step) * state.seconds / counted / 60:.1f}m"
    yield Line(
        f"step {step:05d}/{run.total_steps:05d} ({100 * step / run.total_steps:.2f}%) | "
        f"loss: {state.loss / (1.0 - state.weight):.6f} | lrm: {record.lr / state.plan.config.train.lr:.2f} | "
        f"dt: {record.step_time_s * 1000:.2f}ms | tok/sec: {int(record.tokens_per_s):,} | "
        f"bf16_mfu: {record.mfu * 100:.2f} | epoch: {record.epoch} pq: 0 rg: {step} | "
        f"total time: {state.seconds / 60:.2f}m{eta}"
    )


def _evaluation(record: EvalRecord, state: _NanoChat) -> Iterator[Line]:
    bpb = _bits(record.loss)
    state.lowest_bpb = min(state.lowest_bpb, bpb)
    yield Line(f"Step {record.step:05d} | Validation bpb: {bpb:.6f}")


def _saving(record: SavingRecord, state: _NanoChat) -> Iterator[Line]:
    folder, step = Path(record.path).parent, f"{record.step:06d}"
    yield state.info("checkpoint_manager", f"Saved model parameters to: {folder}/model_{step}.pt")
    yield state.info("checkpoint_manager", f"Saved metadata to: {folder}/meta_{step}.json")
    for rank in range(state.run.world_size):
        path = f"{folder}/optim_{step}_rank{rank}.pt"
        yield state.info("checkpoint_manager", f"Saved optimizer state to: {path}", rank)


def _end(record: SummaryRecord, state: _NanoChat) -> Iterator[Line]:
    yield Line(f"Peak memory usage: {state.memory_bytes / MIB:.2f}MiB")
    yield Line(f"Total training time: {state.seconds / 60:.2f}m")
    if math.isfinite(state.lowest_bpb):
        yield Line(f"Minimum validation bpb: {state.lowest_bpb:.6f}")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ModelRecord: _model,
    DataRecord: _data,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    SummaryRecord: _end,
}
"""Kinds of record that nanochat has words for."""


def _ranks(state: _NanoChat) -> Container[int]:
    """All ranks: each writes its part of the optimizer."""
    return range(state.run.world_size)


VOICE = Voice(LINES, _NanoChat, _ranks)
