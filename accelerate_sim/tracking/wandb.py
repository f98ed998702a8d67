"""Weights & Biases, always offline: a run directory below the output directory that ``wandb sync`` could upload.

What this does not do: talk to a server. wandb starts a process of its own, which ends with the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate_sim.artifacts.atomic import explained
from accelerate_sim.records import EvalRecord, Record, StepRecord
from accelerate_sim.tracking.run_start import RunStart

PROJECT = "simulated-training"
STEP_FIGURES = ("loss", "perplexity", "grad_norm", "lr", "tokens", "tokens_per_s", "mfu", "step_time_s")


class WandbTracker:
    """An offline run per run and process. ImportError without the package."""

    def __init__(self, directory: Path) -> None:
        import wandb

        self._wandb = wandb
        self.directory = directory
        self._run: Any = None

    def begin(self, start: RunStart) -> None:
        """A run begins, or goes on."""
        self.close()
        with explained(self.directory / "wandb", "The run's other files are complete."):
            self._run = self._wandb.init(
                mode="offline",
                project=PROJECT,
                name=f"{start.model}-seed{start.seed}",
                dir=str(self.directory),
                config={**start.config, "simulated": True},
                tags=["simulated"],
                settings=self._wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True),
            )

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                figures = {name: getattr(record, name) for name in STEP_FIGURES}
                self._run.log({**figures, "_timestamp": record.time.timestamp()}, step=record.step)
            case EvalRecord():
                self._run.log({"eval_loss": record.loss, "eval_perplexity": record.perplexity}, step=record.step)

    def flush(self) -> None: ...

    def close(self) -> None:
        """End the run and wandb's process."""
        if self._run:
            self._run.finish()
            self._run = None
