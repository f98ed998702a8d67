"""The voice of MaxText: a line for each step from each host, a step late, as its metrics arrive.

Formats are those of AI-Hypercomputer/maxtext at e591f30c. Releases since 2026 log through absl to standard error; those
before print to standard output and end with the loss. Steps count from 0 and each has a line, whatever ``log.every``
is. A host is the first rank of each node, since JAX has one process for each.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from datetime import datetime

from accelerate_sim.records import (
    ConnectRecord,
    EvalRecord,
    ModelLoadedRecord,
    RestoredRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import to_microseconds
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

GIB = 2**30
THREAD = 140110937163584
"""Thread that absl's prefix names; each host has another."""


class _MaxText(VoiceState):
    """The step whose metrics have not arrived yet."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.is_absl = self.version != "2025"
        self.hosts = range(0, self.run.world_size, self.run.gpus_per_node)
        self.waiting: StepRecord | None = None

    def lines(self, where: str, text: str, time: datetime | None = None) -> Iterator[Line]:
        """A line of each host."""
        for host, rank in enumerate(self.hosts):
            prefix = self._prefix(host, where, time or self.now()) if self.is_absl else ""
            yield Line(prefix + text, rank=rank, to_stderr=self.is_absl)

    def _prefix(self, host: int, where: str, time: datetime) -> str:
        text = to_microseconds(time)
        return f"I{text[5:7]}{text[8:10]} {text[11:]} {THREAD + 4096 * host} {where}] "


def _connected(record: ConnectRecord, state: _MaxText) -> Iterator[Line]:
    world = state.run.world_size
    yield from state.lines("max_utils.py:214", f"Num_devices: {world}, shape ({state.plan.layout.data}, {world})")


def _model(record: ModelLoadedRecord, state: _MaxText) -> Iterator[Line]:
    parameters = state.plan.model.architecture.parameters
    yield from state.lines("train.py:482", f"number parameters: {parameters / 1e9:.3f} billion")
    tflops = state.run.flops_per_token * state.plan.layout.tokens_per_step / state.run.world_size / 1e12
    yield from state.lines("maxtext_utils.py:430", f"Per train step:\n Total TFLOPs: {tflops:.2f} ")


def _restored(record: RestoredRecord, state: _MaxText) -> Iterator[Line]:
    yield from state.lines("checkpointing.py:560", f"restored checkpoint of step {record.step - 1}")


def _step(record: StepRecord, state: _MaxText) -> Iterator[Line]:
    yield from _arrived(state, record.time)
    state.waiting = record


def _arrived(state: _MaxText, time: datetime) -> Iterator[Line]:
    """The line of the step before, whose metrics arrive while the present one runs."""
    record, run = state.waiting, state.run
    if record is None:
        return
    state.waiting = None
    tokens = record.global_batch * run.sequence_length
    per_device = tokens / record.step_time_s / run.world_size
    text = (
        f"completed step: {record.step - 1}, seconds: {record.step_time_s:.3f}, "
        f"TFLOP/s/device: {per_device * run.flops_per_token / 1e12:.3f}, Tokens/s/device: {per_device:.3f}, "
        f"total_weights: {tokens}, loss: {record.loss:.3f}"
    )
    if state.is_absl:
        text += f", lm_loss: {record.loss:.3f}, perplexity: {math.exp(min(record.loss, 700.0)):.3f}"
        if record.load_balancing_loss is not None:
            text += f", moe_lb_loss: {record.load_balancing_loss:.6f}"
    yield from state.lines("metric_logger.py:214", text, time)


def _evaluation(record: EvalRecord, state: _MaxText) -> Iterator[Line]:
    yield from _arrived(state, state.now())
    run = state.run
    weights = state.plan.config.eval.batches * run.data_parallel * run.micro_batch * run.sequence_length
    yield from state.lines(
        "metric_logger.py:232",
        f"Completed eval after train step {record.step - 1}, loss={record.loss:.3f}, "
        f"perplexity={record.perplexity:.3f}, total_weights={weights}",
    )


def _saving(record: SavingRecord, state: _MaxText) -> Iterator[Line]:
    yield from _arrived(state, state.now())
    yield from state.lines(
        "checkpointing.py:655", f"Started an asynchronous checkpoint save for step {record.step - 1}"
    )


def _end(record: SummaryRecord, state: _MaxText) -> Iterator[Line]:
    yield from _arrived(state, state.now())


LINES: Mapping[type, Wording] = {
    ConnectRecord: _connected,
    ModelLoadedRecord: _model,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    SummaryRecord: _end,
}
"""Kinds of record that MaxText has words for."""


def _hosts(state: _MaxText) -> Container[int]:
    return state.hosts


VOICE = Voice(LINES, _MaxText, _hosts)
