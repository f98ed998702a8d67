"""The voice of NeMo 2: a line for each logged iteration on standard output, between Lightning's lines of the set-up.

Formats are those of NVIDIA/NeMo 2.4.0: the callback progress_printer and the logger. Iterations
count from 0. Figures have four significant digits; ``consumed_samples`` is in the second line and those after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelerate_sim.records import (
    CheckpointRecord,
    ConnectRecord,
    DetectRecord,
    EvalRecord,
    ExportingRecord,
    LaunchRecord,
    ModelRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import to_seconds
from accelerate_sim.voices.lightning import connected, info, model_table, ranks, stopped
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording


class _NeMo(VoiceState):
    """The number of printed iterations."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.printed = 0
        self.model_class = ""
        self.is_done = False
        self.tflops = bool(self.options["flops_callback"])

    def line(self, where: str, text: str) -> Line:
        """A line of NeMo's logger, whose further rows are indented."""
        rows = text.replace("\n", "\n    ")
        return Line(f"[NeMo I {to_seconds(self.now())} {where}] {rows}")


def number(value: float) -> str:
    """A figure as the printer shows it: a whole number as such, another with four significant digits."""
    return str(int(value)) if float(value).is_integer() else f"{value:.4}"


def _launch(record: LaunchRecord, state: _NeMo) -> Iterator[Line]:
    layout = state.plan.layout
    yield state.line("nemo_logging:393", "Experiments will be logged at nemo_experiments/default")
    yield info("GPU available: True (cuda), used: True")
    yield info("TPU available: False, using: 0 TPU cores")
    group = list(range(0, layout.data * layout.tensor * layout.context, layout.tensor))
    yield state.line("nemo_logging:393", f"Rank 0 has data parallel group : {group}")


def _model(record: ModelRecord, state: _NeMo) -> Iterator[Line]:
    state.model_class = record.model_class
    return iter(())


def _detected(record: DetectRecord, state: _NeMo) -> Iterator[Line]:
    yield model_table(state, state.model_class)
    train = state.plan.config.train
    yield state.line(
        "nemo_logging:393",
        f"Setting up optimizers\nOptimizerConfig(lr={train.lr}, weight_decay={train.weight_decay}, bf16=True)",
    )


def _step(record: StepRecord, state: _NeMo) -> Iterator[Line]:
    run, step = state.run, record.step
    if step % run.log_every:
        return
    state.printed += 1
    figures: dict[str, float] = {
        "lr": record.lr, "global_batch_size": record.global_batch, "global_step": step - 1,
        "peak_memory_usage": record.memory_used_bytes, "reduced_train_loss": record.loss,
        "train_step_timing in s": record.step_time_s,
    }  # fmt: skip
    if state.tflops:
        tokens = record.global_batch * run.sequence_length
        figures["TFLOPS_per_GPU"] = tokens * run.flops_per_token / record.step_time_s / run.world_size / 1e12
    if state.printed > 1:
        figures["consumed_samples"] = run.consumed_samples(record.tokens)
    text = "".join(f" | {name}: {number(value)}" for name, value in figures.items())
    yield Line(f"Training epoch {record.epoch - 1}, iteration {step - 1}/{run.total_steps - 1}{text}")


def _evaluation(record: EvalRecord, state: _NeMo) -> Iterator[Line]:
    batches = state.plan.config.eval.batches
    for batch in range(1, batches + 1):
        yield Line(f"Validation: iteration {batch}/{batches}")


def _saving(record: SavingRecord, state: _NeMo) -> Iterator[Line]:
    yield state.line(
        "nemo_logging:393",
        f"Scheduled async checkpoint save for {record.path}.ckpt",
    )


def _saved(record: CheckpointRecord, state: _NeMo) -> Iterator[Line]:
    yield state.line(
        "nemo_logging:393",
        f"Global Checkpoint Save : Rank: 0 : Iteration: {record.step} : Save duration: {record.seconds:.3f}s",
    )


def _end(record: ExportingRecord | SummaryRecord, state: _NeMo) -> Iterator[Line]:
    if not state.is_done:
        state.is_done = True
        yield stopped(state.run.total_steps)


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ConnectRecord: connected,
    ModelRecord: _model,
    DetectRecord: _detected,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    ExportingRecord: _end,
    SummaryRecord: _end,
}
"""Kinds of record that NeMo has words for."""

VOICE = Voice(LINES, _NeMo, ranks)
