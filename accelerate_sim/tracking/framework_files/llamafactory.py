"""trainer_log.jsonl of LLaMA-Factory: an object for each log and validation, which its plots and web page read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from accelerate_sim.records import EvalRecord, Record, StepRecord
from accelerate_sim.tracking.framework_files.line_file import LineFile


class TrainerLog(LineFile):
    """Objects with LLaMA-Factory's keys in their order, and ``simulated`` after them."""

    NAME = "trainer_log.jsonl"
    _loss = 0.0
    _steps = 0
    _last: StepRecord | None = None

    def lines(self, record: Record) -> Iterator[str]:
        if isinstance(record, StepRecord):
            self._last = record
            self._loss += record.loss
            self._steps += 1
            if record.step % self.log_every == 0:
                mean = round(self._loss / self._steps, 4)
                self._loss, self._steps = 0.0, 0
                yield self._entry(record, {"loss": mean, "lr": record.lr})
        elif isinstance(record, EvalRecord) and self._last:
            yield self._entry(self._last, {"eval_loss": record.loss})

    def _entry(self, record: StepRecord, figures: dict[str, Any]) -> str:
        total, done = self.total_steps, record.step
        elapsed_s = record.elapsed_s
        entry = {
            "current_steps": done, "total_steps": total, **figures,
            "epoch": round(done / int(self.config["train"]["steps_per_epoch"]), 4),
            "percentage": round(done / total * 100, 2), "elapsed_time": _clock(elapsed_s),
            "remaining_time": _clock(elapsed_s / done * (total - done)),
            "throughput": round(record.tokens / elapsed_s, 2), "total_tokens": record.tokens, "simulated": True,
        }  # fmt: skip
        return json.dumps(entry)

    def step_of(self, line: str) -> int:
        return int(json.loads(line)["current_steps"])


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
