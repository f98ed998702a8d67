"""main.log of llm.c: a line of single letters for each step and validation. The form has no room for a note."""

from __future__ import annotations

from collections.abc import Iterator

from accelerate_sim.records import EvalRecord, Record, StepRecord
from accelerate_sim.tracking.framework_files.line_file import LineFile


class MainLog(LineFile):
    """Lines with the loss, the learning rate and the norm of each step from 0 on, and with the loss of validations."""

    NAME = "main.log"

    def lines(self, record: Record) -> Iterator[str]:
        if isinstance(record, StepRecord):
            yield f"s:{record.step - 1} trl:{record.loss:.4f} lr:{record.lr:.6f} norm:{record.grad_norm:.2f}"
        elif isinstance(record, EvalRecord):
            yield f"s:{record.step} tel:{record.loss:.4f}"

    def step_of(self, line: str) -> int:
        step = int(line.split(" ", 1)[0].removeprefix("s:"))
        return step + 1 if " trl:" in line else step
