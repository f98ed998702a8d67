"""The voice of OLMo-core: a record of several lines for each logged step, with tabs in its prefix.

Formats are those of the console logger and the trainer of allenai/OLMo-core 2.5.0 (fa6c5014) where standard output is
no terminal. Step 1 and every ``log.every`` steps have a record of rank 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from accelerate_sim.config.host_names import host_name
from accelerate_sim.records import (
    CheckpointRecord,
    ConnectRecord,
    DataRecord,
    DetectRecord,
    EvalRecord,
    ModelLoadedRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import to_microseconds
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

GIB = 2**30
LETTERS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"))


class _Olmo(VoiceState):
    """Tokens and time since the first step, for the actual average."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.host = host_name(setting.plan.config.cluster.host, 0)
        self.tokens = 0
        self.seconds = 0.0
        self.epoch = 0
        self.peak_bytes = 0

    def line(self, where: str, text: str) -> Line:
        """A line of the logger; ``where`` is its module and line."""
        stamp = to_microseconds(self.now())[:23]
        return Line(f"{stamp}\t{self.host}:0\t{where}\tINFO\t{text}")


def format_float(value: float) -> str:
    """A figure as the console logger prints it: the fewer decimals the larger it is, letters from 1e9 on."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    for unit, letter in LETTERS:
        if size >= unit:
            return f"{value / unit:.2f}{letter}"
    if 0.0 < size < 1e-4:
        return f"{value:.2E}"
    for bound, decimals in ((1.0, 4), (10.0, 3), (100.0, 2), (1000.0, 1)):
        if size < bound:
            return f"{value:.{decimals}f}"
    return f"{int(value):,d}"


def duration(seconds: float) -> str:
    """A time left in days, hours, minutes and seconds, without those in front that are 0."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02d}h{minute:02d}m"
    return f"{hour}h{minute:02d}m" if hour else f"{minute}m{second:02d}s" if minute else f"{second}s"


def _connected(record: ConnectRecord, state: _Olmo) -> Iterator[Line]:
    layout = state.plan.layout
    yield state.line("olmo_core.distributed.parallel:240", f"Building {layout.data}-way data parallel mesh")


def _model(record: ModelLoadedRecord, state: _Olmo) -> Iterator[Line]:
    shape = state.plan.model.architecture
    yield state.line(
        "olmo_core.nn.transformer.config:310",
        f"Building transformer with {shape.parameters:,d} total params, "
        f"{shape.parameters - shape.embedding_parameters:,d} non-embedding params",
    )


def _data(record: DataRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.data.numpy_dataset:700", f"Total dataset size: {record.tokens:,d} tokens")


def _detected(record: DetectRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:680", f"Training for {state.run.total_steps:,d} steps")


def _restoring(record: RestoringRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:850", f"Loading checkpoint from '{record.path}'...")


def _step(record: StepRecord, state: _Olmo) -> Iterator[Line]:
    run, step = state.run, record.step
    state.seconds += record.step_time_s
    state.tokens += record.global_batch * run.sequence_length
    state.peak_bytes = max(state.peak_bytes, record.memory_used_bytes)
    if record.epoch != state.epoch:
        state.epoch = record.epoch
        yield state.line("olmo_core.train.trainer:1210", f"Starting epoch {record.epoch}...")
    if step > 1 and step % run.log_every:
        return
    average = state.tokens / state.seconds / run.world_size
    per_device = record.global_batch * run.sequence_length / record.step_time_s / run.world_size
    figures = {
        "optim/LR (group 0)": record.lr,
        "optim/total grad norm": record.grad_norm,
        "throughput/device/MFU": record.mfu * 100.0,
        "throughput/device/TPS": per_device,
        "throughput/device/TPS (actual avg)": average,
        "throughput/total tokens": float(record.tokens),
        "gpu_memory/peak reserved (GiB)": state.peak_bytes / GIB,
        "train/CE loss": record.loss,
        "train/PPL": record.perplexity,
    }
    if record.load_balancing_loss is not None:
        figures["train/load balancing loss"] = record.load_balancing_loss
    left = duration((run.total_steps - step) * state.seconds * run.sequence_length * record.global_batch / state.tokens)
    rows = "".join(f"\n    {name}={format_float(value)}" for name, value in figures.items())
    yield state.line(
        "olmo_core.train.callbacks.console_logger:68",
        f"[step={step}/{run.total_steps},epoch={record.epoch},eta={left}]{rows}",
    )


def _evaluation(record: EvalRecord, state: _Olmo) -> Iterator[Line]:
    rows = (
        f"    eval/lm/validation/CE loss={format_float(record.loss)}\n"
        f"    eval/lm/validation/PPL={format_float(record.perplexity)}"
    )
    batches = state.plan.config.eval.batches
    rate = f"throughput/in-loop eval time (seconds)={record.seconds:.2f}"
    yield state.line(
        "olmo_core.train.callbacks.evaluator_callback:170",
        f"Finished lm evals in {record.seconds:.1f} seconds ({batches} batches, {rate})",
    )
    yield state.line("olmo_core.train.callbacks.evaluator_callback:190", f"Eval metrics:\n{rows}")


def _saving(record: SavingRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line(
        "olmo_core.train.callbacks.checkpointer:250", f"Saving checkpoint for step {record.step} to '{record.path}'..."
    )


def _saved(record: CheckpointRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.callbacks.checkpointer:255", "Checkpoint saved")


def _end(record: SummaryRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:720", "Training complete")


LINES: Mapping[type, Wording] = {
    ConnectRecord: _connected,
    ModelLoadedRecord: _model,
    DataRecord: _data,
    DetectRecord: _detected,
    RestoringRecord: _restoring,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    SummaryRecord: _end,
}
"""Kinds of record that OLMo-core has words for."""

VOICE = Voice(LINES, _Olmo)
