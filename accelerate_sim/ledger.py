"""Keeps account of a run as it reports, so that the summary repeats the run's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from accelerate_sim.clock import Clock
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


class LedgerMark(NamedTuple):
    """The sums at one moment, under the ledger's names."""

    last_step: StepRecord | None
    best_loss: float | None
    best_perplexity: float
    step_s: float
    step_j: float
    validation_s: float
    checkpoint_s: float
    peak_memory_bytes: int
    looks: int
    """GPU grids that have been reported."""


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
        """Energy of a mean GPU in its steps."""
        self.peak_memory_bytes = 0
        self._utilization: list[float] = []
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
                    self._utilization.append(float(record.utilization_pct.mean()))
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
        """What the sums are now, to be written down later or never."""
        return LedgerMark(
            self.last_step, self.best_loss, self.best_perplexity, self.step_s, self.step_j, self.validation_s,
            self.checkpoint_s, self.peak_memory_bytes, len(self._utilization),
        )  # fmt: skip

    def state_dict(self, mark: LedgerMark) -> dict[str, Any]:
        """The sums at ``mark``, in values that JSON has."""
        last = mark.last_step
        state = {name: getattr(mark, name) for name in LedgerMark._fields}
        state["last_step"] = last and asdict(last) | {"time": last.time.isoformat()}
        return state | {"utilization": self._utilization[: mark.looks]}

    def load_state_dict(self, state: Mapping[str, Any], begin_s: float) -> None:
        """Go on with these sums, of a run that began at simulated second ``begin_s``."""
        last = state["last_step"]
        self.last_step = StepRecord(**last | {"time": datetime.fromisoformat(last["time"])}) if last else None
        for name in LedgerMark._fields[1:-1]:
            setattr(self, name, state[name])
        self._utilization = list(state["utilization"])
        self.begin_s = begin_s

    @property
    def train_s(self) -> float:
        """From the first step on: steps, checkpoints and validations."""
        return self.step_s + self.checkpoint_s + self.validation_s

    def where(self) -> str:
        """How far the run is, in a phrase."""
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
        """The run in figures. Needs at least one step, and the export."""
        last, run = self.last_step, self.run
        assert last is not None
        total_s = self.clock.now_s - self.begin_s
        tokens_per_s = last.tokens / self.step_s
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
            mean_gpu_utilization_pct=round(float(np.mean(self._utilization)), 2) if self._utilization else self._look(),
            peak_memory_bytes=self.peak_memory_bytes,
            energy_j=round(run.energy_j(self.step_j, self.checkpoint_s, self.validation_s, total_s - self.train_s), 1),
            export_path=self.export.path if self.export else "",
            export_bytes=self.export.bytes if self.export else 0,
        )

    def _look(self) -> float:
        """Utilization at the end of the last step, when no grid was ever reported."""
        assert self.last_step
        sample = self.run.telemetry.sample(self.last_step.elapsed_s - 1e-3, self.last_step.step - 1)
        self.peak_memory_bytes = max(self.peak_memory_bytes, int(sample.memory_used_bytes.max()))
        return round(float(sample.utilization_pct.mean()), 2)
