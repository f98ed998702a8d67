"""The voice of OLMo-core: a record of several lines for each logged step, with tabs in its prefix.

Formats are those of the console logger and the trainer of allenai/OLMo-core 2.5.0 (fa6c5014) where standard output is
no terminal. Step 1 and every ``log.every`` steps have a record of rank 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from accelerate_sim.config.host_names import host_name
from accelerate_sim.records import (
    CheckpointRecord,
    ConnectRecord,
    DataRecord,
    DeletedRecord,
    DetectRecord,
    EvalRecord,
    ModelLoadedRecord,
    RestoredRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import to_microseconds
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

GIB = 2**30
CALLBACKS = (
    "checkpointer", "config_saver", "console_logger", "garbage_collector", "gpu_monitor", "lm_evaluator",
    "speed_monitor",
)  # fmt: skip
EVAL_LOG_INTERVAL = 5
LARGEST_LOSS_OF_PPL = 10.0
"""Loss from which no perplexity is shown."""
LETTERS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"))


class _Olmo(VoiceState):
    """Tokens and time after the first step, for the actual average."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.host = host_name(setting.plan.config.cluster.host, 0)
        self.steps = self.tokens = 0
        self.seconds = 0.0
        self.epoch = 0
        self.peak_bytes = 0

    def line(self, where: str, text: str, time: datetime | None = None) -> Line:
        """A line of the logger; ``where`` is its module and line."""
        stamp = to_microseconds(time or self.now())[:23]
        return Line(f"{stamp}\t{self.host}:0\t{where}\tINFO\t{text}")


def format_float(value: float) -> str:
    """A figure as the console logger prints it: the fewer decimals the larger it is, letters from 1e9 on."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0.0:
        return "0.0"
    for unit, letter in LETTERS:
        if size >= unit:
            scaled = size / unit
            decimals = 1 if scaled > 100 else 2 if scaled > 10 else 3 if scaled > 1 else 4
            return f"{value / unit:,.{decimals}f}{letter}"
    if size < 1e-4:
        return f"{value:.2E}"
    if size >= 1000.0:
        return f"{int(value):,d}"
    decimals = 1 if size > 100 else 2 if size > 10 else 3 if size > 1 else 4
    return f"{value:.{decimals}f}"


def duration(seconds: float) -> str:
    """A time left in days, hours, minutes and seconds, without those that are 0."""
    left = int(seconds)
    parts = ((left // 86400, "d"), (left // 3600 % 24, "h"), (left // 60 % 60, "m"), (left % 60, "s"))
    return "".join(f"{count}{letter}" for count, letter in parts if count) or "0s"


def _connected(record: ConnectRecord, state: _Olmo) -> Iterator[Line]:
    layout = state.plan.layout
    yield state.line("olmo_core.train:148", "Using distributed backend cpu:gloo,cuda:nccl")
    degrees = {"pp": layout.pipeline, "dp": layout.data, "cp": layout.context, "tp": layout.tensor}
    shape = ", ".join(f"{name}={size}" for name, size in degrees.items() if size > 1 or name == "dp")
    dimensions = sum(size > 1 or name == "dp" for name, size in degrees.items())
    shape += "," * (dimensions == 1)
    yield state.line("olmo_core.distributed.parallel:246", f"Built {dimensions}D device mesh with shape ({shape})")
    where = "olmo_core.train.train_module.transformer.train_module"
    yield state.line(f"{where}:141", f"Data parallel world size = {layout.data:,d}")
    yield state.line(f"{where}:198", "Building optimizer...")


def _model(record: ModelLoadedRecord, state: _Olmo) -> Iterator[Line]:
    shape, where = state.plan.model.architecture, "olmo_core.nn.transformer.config"
    total, rest = shape.parameters, shape.parameters - shape.embedding_parameters
    yield state.line(
        f"{where}:368", f"Building transformer with {total:,d} total params, {rest:,d} non-embedding params"
    )
    yield state.line(
        f"{where}:441",
        f"Built model with:\n- {total:,d} total params\n- {rest:,d} non-embedding params\n"
        f"- {total:,d} trainable params",
    )


def _data(record: DataRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.data.numpy_dataset:2399", f"Expanding '{record.dataset}/*.npy'...")
    yield state.line("olmo_core.data.numpy_dataset:2414", f" - '{record.dataset}/part-00000.npy'")


def _detected(record: DetectRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:714", "Callback order:")
    for number, name in enumerate(CALLBACKS, 1):
        yield state.line("olmo_core.train.trainer:716", f"  - Callback {number}: {name}")
    yield state.line("olmo_core.train.trainer:719", f"Training for {state.run.total_steps:,d} steps")
    peak = int(state.run.peak_flops_per_gpu)
    yield state.line(
        "olmo_core.train.callbacks.speed_monitor:114", f"Device: {state.run.gpu}, Device peak Flops/s: {peak}"
    )
    yield state.line("olmo_core.train.trainer:1462", "Starting forward/backward dry-run batch...")
    yield state.line("olmo_core.train.trainer:1464", "Dry-run complete")


def _restoring(record: RestoringRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:902", f"Loading checkpoint from '{record.path}'...")


def _restored(record: RestoredRecord, state: _Olmo) -> Iterator[Line]:
    epoch = (record.step - 1) // state.run.steps_per_epoch + 1
    yield state.line("olmo_core.train.trainer:836", f"Will resume training from step {record.step}, epoch {epoch}")
    yield state.line("olmo_core.train.trainer:923", "Checkpoint successfully loaded")


def _step(record: StepRecord, state: _Olmo) -> Iterator[Line]:
    run, step = state.run, record.step
    if state.steps:  # the first step of a process tends to take long and is left out of rates
        state.seconds += record.step_time_s
        state.tokens += record.global_batch * run.sequence_length
    state.steps += 1
    state.peak_bytes = max(state.peak_bytes, record.memory_used_bytes)
    if record.epoch != state.epoch:
        begin = record.time - timedelta(seconds=record.step_time_s)
        if state.epoch:
            yield state.line("olmo_core.train.trainer:1530", "Epoch complete", begin)
        state.epoch = record.epoch
        yield state.line("olmo_core.train.trainer:1469", f"Starting epoch {record.epoch}...", begin)
    if step > 1 and step % run.log_every:
        return
    figures = _figures(record, state)
    left = state.seconds / (state.steps - 1) * (run.total_steps - step) if state.seconds else None
    eta = "" if left is None else f",eta={duration(left)}"
    rows = "".join(f"\n    {name}={format_float(value)}" for name, value in figures.items())
    yield state.line(
        "olmo_core.train.callbacks.console_logger:61",
        f"[step={step}/{run.total_steps},epoch={record.epoch}{eta}]{rows}",
        record.time,
    )


def _figures(record: StepRecord, state: _Olmo) -> dict[str, float]:
    """The metrics that the console logger shows; rates are missing until a step has been timed."""
    run, tokens = state.run, record.global_batch * state.run.sequence_length
    figures = {"optim/LR (group 0)": record.lr, "optim/total grad norm": record.grad_norm}
    if state.seconds:
        rate, average = tokens / record.step_time_s, state.tokens / state.seconds
        figures |= {
            "throughput/device/TPS": rate / run.world_size,
            "throughput/device/TPS (actual avg)": average / run.world_size,
            "throughput/total tokens": float(record.tokens),
            "throughput/device/flopsPS": rate * run.flops_per_token / run.world_size,
            "throughput/device/flopsPS (actual avg)": average * run.flops_per_token / run.world_size,
            "throughput/device/BPS": 1.0 / record.step_time_s,
            "throughput/device/BPS (actual avg)": (state.steps - 1) / state.seconds,
            "throughput/device/MFU": record.mfu * 100.0,
        }
    reserved, whole = state.peak_bytes, run.memory_total_bytes
    figures["gpu_memory/GPU reserved mem (GiB)"] = reserved / GIB
    figures["gpu_memory/GPU reserved mem (%)"] = 100.0 * reserved / whole
    figures["train/CE loss"] = record.loss
    if record.load_balancing_loss is not None:
        figures["train/load balancing loss"] = record.load_balancing_loss
    if record.loss < LARGEST_LOSS_OF_PPL:
        figures["train/PPL"] = record.perplexity
    return figures


def _evaluation(record: EvalRecord, state: _Olmo) -> Iterator[Line]:
    where, batches, begin = "olmo_core.train.callbacks.evaluator_callback", state.plan.config.eval.batches, state.now()
    begin -= timedelta(seconds=record.seconds)
    yield state.line(f"{where}:134", "Running lm evals...", begin)
    for batch in range(1, batches + 1):
        if batch % EVAL_LOG_INTERVAL == 0 or batch == batches:
            moment = begin + timedelta(seconds=record.seconds * batch / batches)
            yield state.line(f"{where}:215", f"[eval=lm,step={batch}/{batches}]", moment)
    yield state.line(
        f"{where}:178",
        f"Finished lm evals in {record.seconds:.1f} seconds. Metrics:\n"
        f"    validation/CE loss={format_float(record.loss)}\n    validation/PPL={format_float(record.perplexity)}",
    )
    yield state.line(
        f"{where}:198",
        f"Evaluation speed:\n    validation/CE loss (+variants): {record.seconds:.1f} sec ({batches} batches)\n"
        f"    Total evaluation time: {record.seconds:.1f} seconds ({batches} batches)",
    )


def _saving(record: SavingRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:970", f"Saving checkpoint for step {record.step} to '{record.path}'...")


def _saved(record: CheckpointRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:990", "Checkpoint saved")


def _deleted(record: DeletedRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.callbacks.checkpointer:180", f"Removing old checkpoint at '{record.path}'...")


def _end(record: SummaryRecord, state: _Olmo) -> Iterator[Line]:
    yield state.line("olmo_core.train.trainer:1530", "Epoch complete")
    yield state.line("olmo_core.train.trainer:764", "Training complete")


LINES: Mapping[type, Wording] = {
    ConnectRecord: _connected,
    ModelLoadedRecord: _model,
    DataRecord: _data,
    DetectRecord: _detected,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    DeletedRecord: _deleted,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    SummaryRecord: _end,
}
"""Kinds of record that OLMo-core has words for."""

VOICE = Voice(LINES, _Olmo)
