"""``ActiveRun``: the run that the training script is in, with everything that belongs to this run alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from accelerate_sim.checkpointing import Checkpoints
from accelerate_sim.records import DeviceRecord, GpuRecord
from accelerate_sim.reporting.ledger import Ledger
from accelerate_sim.reporting.monitor import Monitor
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import Phase
from accelerate_sim.tracking.tracker import Observer
from accelerate_sim.training_progress import TrainingProgress

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.monitoring.device_agent import DeviceAgent


@dataclass(frozen=True)
class ActiveRun:
    """A run from its beginning to its end. ``begin_run`` makes it."""

    run: Run
    origin_s: float
    """Simulated second at which the run began."""
    observers: tuple[Observer, ...]
    """Observers of this run's records, before those of the session."""
    ledger: Ledger
    monitor: Monitor
    checkpoints: Checkpoints
    progress: TrainingProgress
    resumption: Resumption | None
    """The checkpoint that the run continues from; None for a run that begins at its first step."""
    own_script: bool
    """True for the run of a user's own script, which follows no config."""

    def where(self) -> str:
        """A phrase that says how far the run is."""
        last = self._last_checkpoint
        if not self.progress.completed_steps:
            return "before the first step" + (f" | last checkpoint {last}" if last else "")
        return f"{self.ledger.where()} | {f'last checkpoint {last}' if last else 'no checkpoint'}"

    @property
    def _last_checkpoint(self) -> Path | None:
        """The newest checkpoint of the run; before its checkpoint has been loaded, the one that it continues from."""
        return self.checkpoints.last or (self.resumption.checkpoint if self.resumption else None)

    def save(self) -> str | None:
        """Save the latest step that the run can resume after, and say so; None if the config asks for no such save."""
        if not self.checkpoints.on_disk or self.run.config.checkpoint.on_preempt != "save":
            return None
        if not self.checkpoints.last and self._last_checkpoint:
            return f"{self._last_checkpoint} is already there"
        return self.checkpoints.save_at_last_mark()

    def look(self) -> GpuRecord:
        """All GPUs at this moment, with the figures of the GPU grid."""
        run, progress = self.run, self.progress
        elapsed_s = progress.clock.reached_s() - progress.training_origin_s
        step = progress.completed_steps
        sample = run.telemetry.sample(run.timeline_s(elapsed_s, step), max(step - 1, 0))
        return self.monitor.record_of(sample, step, elapsed_s)

    def read_gpus(self, now_s: float) -> DeviceRecord | None:
        """The GPUs at simulated second ``now_s``, which is the present one; None if they are not NVIDIA's."""
        progress, ledger = self.progress, self.ledger
        startup_s = min(now_s, progress.training_origin_s) - self.origin_s
        spent: dict[Phase, float] = {
            "startup": startup_s, "checkpoint": ledger.checkpoint_s, "validation": ledger.validation_s,
        }  # fmt: skip
        tokens = ledger.last_step.tokens if ledger.last_step else 0
        return self._device_agent.read(now_s - progress.training_origin_s, spent, ledger.step_j, tokens)

    @cached_property
    def _device_agent(self) -> DeviceAgent:
        from accelerate_sim.monitoring.device_agent import DeviceAgent

        return DeviceAgent(self.run)
