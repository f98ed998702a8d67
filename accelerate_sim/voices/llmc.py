"""The voice of llm.c's train_gpt2cu: its tables, and a line for each step, on standard output.

Formats are those of train_gpt2.cu and outlier_detector.h of karpathy/llm.c at f1e2ace. Every step has a line, whatever
``log.every`` is. The z-scores of loss and norm are nan until the window of 128 steps is full. Not played: HellaSwag
and generated text.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from accelerate_sim.records import (
    ConnectRecord,
    DeletedRecord,
    DetectRecord,
    EvalRecord,
    LaunchRecord,
    ModelRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

MIB = 2**20
WINDOW = 128
"""Steps from which a z-score is made."""
DECAY = 0.95
"""Weight of the past in the average of tokens per second."""
BORDER = f"+{'-' * 23}+{'-' * 52}+"


class _Outliers:
    """The z-score of a value among the last WINDOW values, its own included."""

    def __init__(self) -> None:
        self._values: deque[float] = deque()
        self._sum = self._squares = 0.0

    def score(self, value: float) -> float:
        """Add a value. Returns nan until there are WINDOW values before it."""
        self._values.append(value)
        self._sum += value
        self._squares += value * value
        if len(self._values) <= WINDOW:
            return math.nan
        old = self._values.popleft()
        self._sum -= old
        self._squares -= old * old
        mean = self._sum / WINDOW
        variance = self._squares / WINDOW - mean * mean
        return (value - mean) / math.sqrt(variance) if variance > 0.0 else 0.0


class _LlmC(VoiceState):
    """Averages over the steps of this process."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.loss, self.norm = _Outliers(), _Outliers()
        self.steps = 0
        self.seconds = 0.0
        self.tokens_per_s = 0.0
        self.is_done = False


def _row(name: str, value: object) -> Line:
    return Line(f"| {name:<21} | {value!s:<50} |")


def _table(rows: Mapping[str, object]) -> Iterator[Line]:
    for name, value in rows.items():
        yield _row(name, value)
    yield Line(BORDER)


def _launch(record: LaunchRecord, state: _LlmC) -> Iterator[Line]:
    run, config = state.run, state.plan.config
    train = config.train
    yield Line(BORDER)
    yield _row("Parameter", "Value")
    yield Line(BORDER)
    yield from _table({
        "train data pattern": f"{state.plan.dataset.name}_train_*.bin",
        "val data pattern": f"{state.plan.dataset.name}_val_*.bin",
        "output log dir": "log",
        "checkpoint_every": config.checkpoint.every, "resume": 0,
        "micro batch size B": run.micro_batch, "sequence length T": run.sequence_length,
        "total batch size": state.plan.layout.tokens_per_step, "LR scheduler": "cosine",
        "learning rate (LR)": f"{train.lr:e}", "warmup iterations": train.warmup_steps,
        "final LR fraction": f"{train.min_lr / train.lr:e}",
        "weight decay": f"{train.weight_decay:e}", "skip update lossz": f"{0.0:f}", "skip update gradz": f"{0.0:f}",
        "max_steps": run.total_steps, "val_loss_every": config.eval.every or run.steps_per_epoch,
        "val_max_steps": config.eval.batches, "sample_every": 0, "genT": 64, "overfit_single_batch": 0,
        "use_master_weights": "enabled", "gelu_fusion": 2,
        "recompute": int(train.recompute != "none"),
    })  # fmt: skip
    yield from _table({
        "device": run.gpu, "peak TFlops": f"{run.peak_flops_per_gpu / 1e12:.1f}", "precision": "BF16",
    })  # fmt: skip


def _model(record: ModelRecord, state: _LlmC) -> Iterator[Line]:
    run, plan = state.run, state.plan
    method = "random" if record.start == "scratch" else record.name
    yield from _table({
        "weight init method": method, "max_sequence_length T": record.context, "vocab_size V": record.vocab,
        "padded_vocab_size Vp": -(-record.vocab // 128) * 128, "num_layers L": record.layers,
        "num_heads NH": record.heads, "channels C": record.hidden, "num_parameters": record.parameters,
    })  # fmt: skip
    batches = run.total_steps
    yield from _table({"train_num_batches": batches, "val_num_batches": plan.config.eval.batches})
    yield from _table({"run hellaswag": "no"})
    stage = {"ddp": 0, "zero1": 1, "zero2": 2}.get(plan.layout.sharding, 3)
    yield from _table({"num_processes": run.world_size, "zero_stage": stage})
    yield Line(f"num_parameters: {record.parameters} => bytes: {record.parameters * 2}")
    yield Line(f"allocated {record.parameters * 2 // MIB} MiB for model parameters")
    yield Line(
        f"batch_size B={run.micro_batch} * seq_len T={run.sequence_length} * num_processes={run.world_size} and "
        f"total_batch_size={plan.layout.tokens_per_step}"
    )
    yield Line(f"=> setting grad_accum_steps={plan.layout.accumulation}")


def _connected(record: ConnectRecord, state: _LlmC) -> Iterator[Line]:
    use = state.plan.memory
    yield Line(f"allocating {round(use.gradients / MIB)} MiB for parameter gradients")
    yield Line(f"allocating {round(use.activations / MIB)} MiB for activations")
    yield Line(f"allocating {round(use.optimizer / 3 / MIB)} MiB for AdamW optimizer state m")
    yield Line(f"allocating {round(use.optimizer / 3 / MIB)} MiB for AdamW optimizer state v")
    yield Line(f"allocating {round(use.optimizer / 3 / MIB)} MiB for master copy of params")


def _detected(record: DetectRecord, state: _LlmC) -> Iterator[Line]:
    use, whole, micro = state.plan.memory, state.run.memory_total_bytes, state.run.micro_batch
    sequence = max(use.activations / micro, 1.0)
    free = max(whole - use.allocated, 0.0)
    yield Line(f"device memory usage: {round(use.allocated / MIB)} MiB / {whole // MIB} MiB")
    yield Line(f"memory per sequence: {round(sequence / MIB)} MiB")
    yield Line(f" -> estimated maximum batch size: {micro + int(free / sequence)}")


def _step(record: StepRecord, state: _LlmC) -> Iterator[Line]:
    run = state.run
    rate = run.sequence_length * record.global_batch / record.step_time_s
    if state.steps:
        state.seconds += record.step_time_s
        state.tokens_per_s = DECAY * state.tokens_per_s + (1.0 - DECAY) * rate
        rate = state.tokens_per_s / (1.0 - DECAY**state.steps)
    state.steps += 1
    yield Line(
        f"step {record.step:4d}/{run.total_steps} | loss {record.loss:7.6f} ({state.loss.score(record.loss):+.2f}z)| "
        f"norm {record.grad_norm:6.4f} ({state.norm.score(record.grad_norm):+.2f}z)| lr {record.lr:.2e} | "
        f"{record.step_time_s * 1000:.2f} ms | {record.mfu * 100:.1f}% bf16 MFU | {rate:.0f} tok/s"
    )


def _evaluation(record: EvalRecord, state: _LlmC) -> Iterator[Line]:
    yield Line(f"val loss {record.loss:f}")


def _saving(record: SavingRecord, state: _LlmC) -> Iterator[Line]:
    folder = Path(record.path).parent
    yield Line(f"Writing checkpoint at step {record.step}")
    yield Line(f"Writing model to {folder}/model_{record.step:08d}.bin")
    yield Line(f"Writing state to {folder}/state_{record.step:08d}_00000.bin")


def _deleted(record: DeletedRecord, state: _LlmC) -> Iterator[Line]:
    yield Line(f"Deleting checkpoint at step {Path(record.path).name.removeprefix('checkpoint-')}")


def _end(record: SummaryRecord, state: _LlmC) -> Iterator[Line]:
    if state.steps > 1:
        yield Line(f"total average iteration time: {state.seconds / (state.steps - 1) * 1000:f} ms")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ModelRecord: _model,
    ConnectRecord: _connected,
    DetectRecord: _detected,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    DeletedRecord: _deleted,
    SummaryRecord: _end,
}
"""Kinds of record that llm.c has words for."""

VOICE = Voice(LINES, _LlmC)
