"""Files of a Trainer that has finished: trainer_state.json, train_results.json, eval_results.json, all_results.json.

The Trainer and the example scripts write them into the output directory; notebooks and plots read them there. Each
result file has ``simulated`` beside the Trainer's keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from accelerate_sim.artifacts.atomic import explained, write_file
from accelerate_sim.artifacts.training_files import trainer_state_image
from accelerate_sim.checkpoints.trainer_state import TrainerHistory
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.records import DetectRecord, ExportingRecord, Record, RestoredRecord, StepRecord
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.tracker import RunStart, TrackerContext


class TrainerResults:
    """Writes the files when the export of the model begins, which is when the Trainer has trained."""

    @classmethod
    def open(cls, context: TrackerContext) -> TrainerResults:
        """The tracker of a session."""
        return cls(context)

    def __init__(self, context: TrackerContext) -> None:
        self.directory = context.directory
        self._now = context.now
        self._history: TrainerHistory | None = None
        self._begin: datetime = self._now()
        self._loss = 0.0
        self._steps = 0
        self._last: StepRecord | None = None

    def begin(self, start: RunStart) -> None:
        """Begin with the history of the checkpoint from which a resumed run goes on."""
        run = Run.of(Plan(RunConfig.model_validate(dict(start.config)), start.number))
        self._history, self._begin = TrainerHistory(run), self._now()
        self._loss, self._steps, self._last = 0.0, 0, None
        path = self.directory / f"checkpoint-{start.step}" / "trainer_state.json"
        if start.step and path.is_file():
            self._history.go_on_with(json.loads(path.read_text(encoding="utf-8")))

    def observe(self, record: Record) -> None:
        if self._history:
            self._history.observe(record)
        if isinstance(record, StepRecord):
            self._loss += self._history.counted_loss if self._history else record.loss
            self._steps += 1
            self._last = record
        elif isinstance(record, DetectRecord | RestoredRecord):
            self._begin = self._now()
        elif isinstance(record, ExportingRecord) and self._last and self._history:
            self._write(self._last, self._history)

    def _write(self, last: StepRecord, history: TrainerHistory) -> None:
        state = history.trainer_state(last.step)
        seconds = (self._now() - self._begin).total_seconds()
        samples = self._steps * history.run.layout.global_batch
        metrics = {
            "epoch": state["epoch"], "total_flos": state["total_flos"], "train_loss": self._loss / self._steps,
            "train_runtime": round(seconds, 4), "train_samples_per_second": round(samples / seconds, 3),
            "train_steps_per_second": round(self._steps / seconds, 3),
        }  # fmt: skip
        evals = [entry for entry in state["log_history"] if "eval_loss" in entry]
        evaluated = {key: value for key, value in evals[-1].items() if key != "step"} if evals else {}
        state["log_history"].append({**metrics, "step": last.step})
        with explained(self.directory / "all_results.json"):
            write_file(self.directory / "trainer_state.json", trainer_state_image(state).head)
            self._results("train", metrics)
            if evaluated:
                self._results("eval", evaluated)
            self._results("all", {**evaluated, **metrics})

    def _results(self, split: str, metrics: Mapping[str, Any]) -> None:
        text = json.dumps({**metrics, "simulated": True}, indent=4, sort_keys=True)
        write_file(self.directory / f"{split}_results.json", text.encode())

    def flush(self) -> None:
        """Nothing: the files are whole when they are written."""

    def sync(self) -> None:
        """Nothing, as for ``flush``."""

    def close(self) -> None:
        """Nothing, as for ``flush``."""
