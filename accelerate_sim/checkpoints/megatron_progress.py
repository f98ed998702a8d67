"""progress.txt and latest_checkpointed_iteration.txt of Megatron-LM, written with each checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from accelerate_sim.artifacts.atomic import explained, write_file
from accelerate_sim.records import CheckpointRecord, Record, StepRecord
from accelerate_sim.records.timestamps import to_seconds
from accelerate_sim.tracking.framework_files.line_file import LineFile
from accelerate_sim.tracking.tracker import RunStart, TrackerContext

JOB = "simulated"
"""Text for the number of the job, which says that there was none."""


class Progress(LineFile):
    """Lines of --log-progress, and the number of the last checkpoint."""

    NAME = "progress.txt"
    _last: StepRecord | None = None
    _flops_per_token = 0
    _world = 1

    @classmethod
    def open(cls, context: TrackerContext) -> Progress:
        """The tracker of a session."""
        return cls(context.directory)

    def begin(self, start: RunStart) -> None:
        from accelerate_sim.config.schema import RunConfig
        from accelerate_sim.sim.plan import Plan

        plan = Plan(RunConfig.model_validate(dict(start.config)), start.number)
        self._flops_per_token, self._world = plan.flops_per_token, plan.layout.world_size
        self._last = None
        super().begin(start)

    def lines(self, record: Record) -> Iterator[str]:
        if isinstance(record, StepRecord):
            self._last = record
        elif isinstance(record, CheckpointRecord) and self._last:
            with explained(self.directory / "latest_checkpointed_iteration.txt"):
                write_file(self.directory / "latest_checkpointed_iteration.txt", str(record.step).encode())
            yield self._line(record, self._last)

    def _line(self, record: CheckpointRecord, last: StepRecord) -> str:
        flops = float(last.tokens) * self._flops_per_token
        rate = flops / last.elapsed_s / self._world / 1e12
        return (
            f"{to_seconds(last.time)}\tJob ID: {JOB}\t# GPUs: {self._world}\tSaved checkpoint\t"
            f"Iteration: {record.step}\tJob throughput: {rate:.1f} TFLOP/s/GPU\t"
            f"Cumulative throughput: {rate:.1f} TFLOP/s/GPU\t"
            f"Floating-point operations: {flops:.2e}\tTokens (in billions): {last.tokens / 1e9:.2f}"
        )

    def step_of(self, line: str) -> int:
        return int(line.split("Iteration: ")[1].split("\t")[0])
