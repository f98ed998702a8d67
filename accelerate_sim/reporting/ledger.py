"""Sums up the records of a run, so that the summary agrees with the lines before it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter

from accelerate_sim.artifacts.damage import Damaged, conforming
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import (
    CheckpointRecord,
    EvalRecord,
    ExportRecord,
    GpuRecord,
    Record,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import BLOCK

Sum = Annotated[float, Field(ge=0.0)]


MAY_BE_NAN = ("loss", "perplexity", "grad_norm")
"""Figures of a step that a fault can make no number."""


class LedgerMark(NamedTuple):
    """The ledger's sums at one moment, under the names that they have there."""

    last_step: StepRecord | None
    best_loss: float | None
    best_perplexity: float
    step_s: Sum
    step_j: Sum
    validation_s: Sum
    checkpoint_s: Sum
    peak_memory_bytes: Annotated[int, Field(ge=0, le=2**62)]
    looks: Annotated[int, Field(ge=0, le=10**12)]
    """Number of GPU grids that have been reported."""
    utilization_sum: Sum
    """Sum of the mean utilizations of those grids, in per cent."""


class Ledger:
    """Sums of everything that a run has reported so far."""

    def __init__(self, run: Run, clock: Clock) -> None:
        self.run = run
        self.clock = clock
        self.begin_s = clock.now_s
        self.last_step: StepRecord | None = None
        self.best_loss: float | None = None
        self.best_perplexity = 0.0
        self.step_s = self.validation_s = self.checkpoint_s = 0.0
        self.step_j = 0.0
        """Joules that a mean GPU has spent in steps."""
        self.peak_memory_bytes = 0
        self.looks = 0
        self.utilization_sum = 0.0
        self.export: ExportRecord | None = None

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                self.last_step = record
                self.step_s += record.step_time_s
                self.step_j += record.step_time_s * self.run.telemetry.mean_step_power_w(record.step - 1)
                self.peak_memory_bytes = max(self.peak_memory_bytes, record.memory_used_bytes)
            case GpuRecord():
                if record.phase == "step":
                    self.looks += 1
                    self.utilization_sum += float(record.utilization_pct.mean())
                self.peak_memory_bytes = max(self.peak_memory_bytes, int(record.memory_used_bytes.max()))
            case EvalRecord():
                self.validation_s += record.seconds
                if record.best:
                    self.best_loss, self.best_perplexity = record.loss, record.perplexity
            case CheckpointRecord():
                self.checkpoint_s += record.seconds
            case ExportRecord():
                self.export = record

    def flush(self) -> None: ...

    def mark(self) -> LedgerMark:
        """A copy of the present sums, which a checkpoint may store later."""
        return LedgerMark(
            self.last_step, self.best_loss, self.best_perplexity, self.step_s, self.step_j, self.validation_s,
            self.checkpoint_s, self.peak_memory_bytes, self.looks, self.utilization_sum,
        )  # fmt: skip

    def state_dict(self, mark: LedgerMark) -> dict[str, Any]:
        """The sums at ``mark`` as values that JSON can hold."""
        last = mark.last_step
        return mark._asdict() | {"last_step": last and _in_json(asdict(last) | {"time": last.time.isoformat()})}

    def load_state_dict(self, state: Mapping[str, Any], begin_s: float) -> None:
        """Take over the sums of a run that began at simulated second ``begin_s``."""
        mark = _reader().validate_json(json.dumps(_with_nan(state)), strict=True)
        for name, value in mark._asdict().items():
            setattr(self, name, value)
        self.begin_s = begin_s

    @property
    def train_s(self) -> float:
        """Seconds spent in steps, checkpoints and validations."""
        return self.step_s + self.checkpoint_s + self.validation_s

    def where(self) -> str:
        """The position of the run in a phrase: epoch, step, loss and tokens."""
        last = self.last_step
        if last is None:
            return "before the first step"
        train = self.run.config.train
        in_epoch = (last.step - 1) % train.steps_per_epoch + 1
        return (
            f"epoch {last.epoch}/{train.epochs}, step {in_epoch}/{train.steps_per_epoch} | "
            f"loss {last.loss:.4f} | {last.tokens:,} tokens"
        )

    def summary(self) -> SummaryRecord:
        """The summary of the run. At least one step must have been reported."""
        last, run = self.last_step, self.run
        assert last is not None
        total_s = self.clock.now_s - self.begin_s
        facts = run.fault_facts
        tokens_per_s = (last.tokens + (facts.lost_tokens if facts else 0)) / self.step_s
        validated = self.best_loss is not None
        return SummaryRecord(
            run=run.number,
            model=run.model.title,
            parameters=run.model.architecture.parameters,
            gpus=run.layout.world_size,
            gpu=run.gpu.product,
            total_time_s=round(total_s, 3),
            train_time_s=round(self.train_s, 6),
            epochs=last.epoch,
            steps=last.step,
            tokens=last.tokens,
            final_loss=last.loss,
            final_perplexity=last.perplexity,
            best_loss=self.best_loss if self.best_loss is not None else last.loss,
            best_perplexity=self.best_perplexity if validated else last.perplexity,
            mean_tokens_per_s=round(tokens_per_s, 3),
            mean_mfu=round(run.mfu(tokens_per_s), 6),
            mean_gpu_utilization_pct=round(self.utilization_sum / self.looks, 2) if self.looks else self._look(),
            peak_memory_bytes=self.peak_memory_bytes,
            energy_j=round(run.energy_j(self.step_j, self.checkpoint_s, self.validation_s, total_s - self.train_s), 1),
            export_path=self.export.path if self.export else "",
            export_bytes=self.export.bytes if self.export else 0,
            attempts=facts.attempt + 1 if facts else None,
            lost_steps=facts.lost_steps if facts else None,
            goodput=round(self._useful_s(last.step) / (total_s - run.startup.total), 6) if facts else None,
        )

    def _useful_s(self, step: int) -> float:
        """Seconds that the steps of the run take if each is made once, undisturbed."""
        timeline = self.run.timeline
        return sum(
            float(timeline.block(index).step_s[: step - index * BLOCK].sum()) for index in range(-(-step // BLOCK))
        )

    def _look(self) -> float:
        """Mean utilization at the end of the last step in per cent, for a run that reported no grid."""
        assert self.last_step
        second = self.run.timeline_s(self.last_step.elapsed_s, self.last_step.step - 1) - 1e-3
        sample = self.run.telemetry.sample(second, self.last_step.step - 1)
        self.peak_memory_bytes = max(self.peak_memory_bytes, int(sample.memory_used_bytes.max()))
        return round(float(sample.utilization_pct.mean()), 2)


def check_state(state: Mapping[str, Any], step: int, name: str) -> None:
    """Raise Damaged if ``state``, read from the file ``name``, cannot be a ledger's after ``step`` steps."""
    mark = conforming(_reader(), _with_nan(state), name)
    if mark.last_step is None:
        fits = not any((mark.step_s, mark.step_j, mark.looks))
    else:
        fits = 1 <= mark.last_step.step <= step and mark.step_s > 0.0 and mark.last_step.tokens > 0
    if not fits:
        raise Damaged(f"has a {name} that was changed: the figures of its ledger do not agree")


def _in_json(step: dict[str, Any]) -> dict[str, Any]:
    """The fields of a step's record with None for figures that are not finite, for which JSON has no number."""
    return {name: None if name in MAY_BE_NAN and not math.isfinite(value) else value for name, value in step.items()}


def _with_nan(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with the figures that ``_in_json`` has left out."""
    last = state.get("last_step")
    if not isinstance(last, Mapping):
        return dict(state)
    return dict(state) | {"last_step": {**last, **{name: math.nan for name in MAY_BE_NAN if last.get(name, 0) is None}}}


@cache
def _reader() -> TypeAdapter[LedgerMark]:
    return TypeAdapter(LedgerMark)
