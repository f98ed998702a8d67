"""The voice of MaxText: a line for each step from each host, a step late, as its metrics arrive.

Formats are those of AI-Hypercomputer/maxtext at e591f30c. Releases since 2026 log through absl to standard error; those
before print to standard output and end with the loss. Steps count from 0 and each has a line, whatever ``log.every``
is. A host is the first rank of each node, since JAX has one process for each. Not played: the running
figures of validations, the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from datetime import datetime

from accelerate_sim.records import (
    ConnectRecord,
    DetectRecord,
    EvalRecord,
    RestoredRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import to_microseconds
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

GIB = 2**30
THREAD = 140110937163584
"""Thread that absl's prefix names; each host has another."""
LOG_PERIOD = 100
"""Steps from one mention of TensorBoard to the next."""
RELEASES = {
    "Jax Version": "0.8.1", "Jaxlib Version": "0.8.1", "Jax Backend": "PJRT C API\ncuda 12090",
}  # fmt: skip


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
            yield self.line(where, text, host, rank, time)

    def line(self, where: str, text: str, host: int, rank: int, time: datetime | None = None) -> Line:
        """A line of one host, whose process is that of ``rank``."""
        prefix = self._prefix(host, where, time or self.now()) if self.is_absl else ""
        return Line(prefix + text, rank=rank, to_stderr=self.is_absl)

    def _prefix(self, host: int, where: str, time: datetime) -> str:
        text = to_microseconds(time)
        return f"I{text[5:7]}{text[8:10]} {text[11:]} {THREAD + 4096 * host} {where}] "


def _connected(record: ConnectRecord, state: _MaxText) -> Iterator[Line]:
    world, layout = state.run.world_size, state.plan.layout
    yield from state.lines("max_utils.py:271", "Attempting to initialize the jax distributed system for GPU backend...")
    yield from state.lines("max_utils.py:273", "Jax distributed system initialized on GPU!")
    for what, release in RELEASES.items():
        yield from state.lines("max_utils.py:832", f"System Information: {what}: {release}")
    axes = {"data": layout.data, "stage": layout.pipeline, "context": layout.context, "tensor": layout.tensor}
    yield from state.lines("maxtext_utils.py:2274", f"Num_devices: {world}, shape OrderedDict({axes})")


def _detected(record: DetectRecord, state: _MaxText) -> Iterator[Line]:
    """The lines between the checkpoint manager and the first step; those with a tab are about each device of a host."""
    run = state.run
    if state.plan.config.checkpoint.every:
        yield from state.lines("checkpointing.py:388", "Creating checkpoint manager with ocdbt=True and zarr3=True")
        yield from state.lines("checkpointing.py:445", "Checkpoint manager created!")
    parameters = state.plan.model.architecture.parameters
    yield from state.lines("metric_logger.py:374", f"number parameters: {parameters / 1e9:.3f} billion")
    yield from state.lines("max_utils.py:779", "\nMemstats: After params initialized:")
    use = state.plan.memory
    used, limit = round((use.weights + use.optimizer) / GIB, 2), round(run.memory_total_bytes / GIB, 2)
    for local in range(run.gpus_per_node):
        for host, rank in enumerate(state.hosts):
            text = f"\tUsing (GB) {used} / {limit} ({used / limit:%}) on cuda:{host * run.gpus_per_node + local}"
            yield state.line("max_utils.py:785", text, host, rank)
    tflops = run.flops_per_token * state.plan.layout.tokens_per_step / run.world_size / 1e12
    learned = 6 * state.plan.model.architecture.active_parameters / run.flops_per_token
    share = min(100.0 * learned, 100.0)
    text = f"Per train step:\n Total TFLOPs: {tflops:.2f} \n split as {share:.2f}% learnable weight flops"
    for rank in state.hosts:  # by print, without a prefix
        yield Line(f"{text} and {100.0 - share:.2f}% attention flops", rank=rank)


def _restoring(record: RestoringRecord, state: _MaxText) -> Iterator[Line]:
    where = "checkpointing.py:521"
    yield from state.lines(where, "checkpoint manager exists so trying to load this run's existing checkpoint")


def _restored(record: RestoredRecord, state: _MaxText) -> Iterator[Line]:
    yield from state.lines("checkpointing.py:525", f"restoring from this run's directory step {record.step - 1}")


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
    yield from state.lines("metric_logger.py:230", text, time)
    if (record.step - 1) % LOG_PERIOD == 0:
        where = "To see full metrics 'tensorboard --logdir=maxtext_output/tensorboard/'"
        yield state.line("metric_logger.py:342", where, 0, 0, time)


def _evaluation(record: EvalRecord, state: _MaxText) -> Iterator[Line]:
    yield from _arrived(state, state.now())
    run = state.run
    weights = state.plan.config.eval.batches * run.data_parallel * run.micro_batch * run.sequence_length
    yield from state.lines("train.py:879", f"Starting eval after train step {record.step - 1}")
    z_loss = ", avg_z_loss=0.000" if state.is_absl else ""
    yield from state.lines(
        "metric_logger.py:258",
        f"Completed eval after train step {record.step - 1}, loss={record.loss:.3f}, "
        f"perplexity={record.perplexity:.3f}, total_weights={weights}{z_loss}",
    )


def _saving(record: SavingRecord, state: _MaxText) -> Iterator[Line]:
    yield from _arrived(state, state.now())
    yield from state.lines(
        "checkpointing.py:451", f"Started an asynchronous checkpoint save for step {record.step - 1}"
    )


def _end(record: SummaryRecord, state: _MaxText) -> Iterator[Line]:
    yield from _arrived(state, state.now())


LINES: Mapping[type, Wording] = {
    ConnectRecord: _connected,
    DetectRecord: _detected,
    RestoringRecord: _restoring,
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
