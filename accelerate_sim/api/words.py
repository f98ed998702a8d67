"""``Words``: what happens in a run as lines of text, in the voice that its config names.

The lines are those of ``train.py`` on pipes, without progress bars and without what ``log.hazards`` does to them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from accelerate_sim.api.records import TextRecord
from accelerate_sim.display.gpu.table import gpu_table
from accelerate_sim.display.screen import PIPE_WIDTH
from accelerate_sim.display.style import Style
from accelerate_sim.display.summary import summary_table
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import GpuRecord, LaunchRecord, RankStepRecord, Record, StepRecord, SummaryRecord
from accelerate_sim.reporting.build import run_facts
from accelerate_sim.reporting.console import ranks_that_log
from accelerate_sim.reporting.rank_details import rank_step_records
from accelerate_sim.sim.run import Run
from accelerate_sim.voices import house
from accelerate_sim.voices.voice import Bar, Line, speaker_of

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Attempt, Occurrence

PROGRAM = "train.py"
"""Name of the script in lines that name one."""
PLAIN = Style(color=False, ascii=False)


class Words:
    """Words the records of one run. A voice counts and averages, so it is given every record, in order."""

    def __init__(self, run: Run, clock: Clock) -> None:
        self._clock = clock
        self._run = run
        self._facts = run_facts(run)
        self._speaker = speaker_of(run, self._facts, clock.time)
        told = ranks_that_log(run.config.log.ranks, self._facts)
        has_details = RankStepRecord in self._speaker.voice.lines and told != [0]
        self._details: Sequence[int] = (told or ()) if has_details else ()
        """Ranks that log detail lines of their own."""
        self._told = None if has_details else told
        """Ranks that each repeat the lines of a step; None: the voice's own."""
        self.is_house = self._speaker.voice.is_house

    def follow(self, run: Run) -> None:
        """Word the records of ``run``, which is the run as it is in the present attempt."""
        self._run = run

    def of_record(self, record: Record) -> Iterator[TextRecord]:
        """The lines about a record; none if the voice does not mention it."""
        if isinstance(record, LaunchRecord) and not self.is_house:
            self._speaker = speaker_of(self._run, self._facts, self._clock.time)  # each attempt counts anew
        if self._details and isinstance(record, StepRecord) and not record.step % self._run.config.log.every:
            for detail in rank_step_records(self._run, record.step, self._clock.time(), self._details):
                yield from self._worded(detail)
        if self.is_house and isinstance(record, GpuRecord | SummaryRecord):
            yield from self._table(record)
        yield from self._worded(record)

    def _worded(self, record: Record) -> Iterator[TextRecord]:
        voice, state, _ = self._speaker
        wording = voice.lines.get(type(record))
        if wording is None:
            yield from self._warnings(record)
            return
        for item in wording(record, state):
            if isinstance(item, Bar):
                continue
            if self.is_house:
                yield self._prefixed(item)
                continue
            times = len(self._told) if self._told is not None and isinstance(record, StepRecord) else 1
            stream: Literal["stdout", "stderr"] = "stderr" if item.to_stderr else "stdout"
            for part in item.text.split("\n") * times:
                yield self._text(part, item.rank, stream, item.time)

    def _warnings(self, record: Record) -> Iterator[TextRecord]:
        """The warnings that the house has for a record, which a framework has no words for."""
        wording = None if self.is_house else house.LINES.get(type(record))
        for line in wording(record, self._facts) if wording else ():
            if line.level >= logging.WARNING:
                yield replace(self._prefixed(line), stream="stderr")

    def _table(self, record: GpuRecord | SummaryRecord) -> Iterator[TextRecord]:
        rows: Sequence[str] = ()
        if isinstance(record, SummaryRecord):
            rows = summary_table(record, PIPE_WIDTH, PLAIN)
        elif record.phase == "step":
            rows = gpu_table(record, PIPE_WIDTH, PLAIN, self._facts.host)
        for row in rows:
            yield self._text(row)

    def of_script(self, text: str) -> Iterator[TextRecord]:
        """A line of the training script's own, which only the house style shows."""
        if self.is_house:
            yield self._prefixed(Line(text))

    def of_strike(self, strike: Occurrence) -> Iterator[TextRecord]:
        """The lines that ranks write when a fault strikes; those of their machines' logs are not among them."""
        from accelerate_sim.faults.told import lines_of, tracebacks_of
        from accelerate_sim.session.faults.line_output import MACHINE_LOGS

        moment = self._clock.start + timedelta(seconds=self._clock.now_s)
        strike = replace(strike, moment=moment)
        for line in sorted([*lines_of(strike), *tracebacks_of(strike)], key=lambda line: line.after_s):
            if line.stream not in MACHINE_LOGS:
                stream: Literal["stdout", "stderr"] = "stdout" if line.stream == "stdout" else "stderr"
                for part in line.text.split("\n"):
                    yield self._text(part, line.rank, stream, moment + timedelta(seconds=line.after_s))

    def of_end(self, attempt: Attempt) -> Iterator[TextRecord]:
        """The launcher's lines about the ranks of an attempt that a strike has ended."""
        from accelerate_sim.session.faults.launcher_report import end_texts

        for text in end_texts(attempt, self._clock.time(), PROGRAM):
            for part in text.split("\n"):
                yield self._text(part, stream="stderr")

    def _prefixed(self, line: Line) -> TextRecord:
        time = line.time or self._clock.time()
        where = f"[{time:%Y-%m-%d %H:%M:%S}] [Rank {line.rank}/{self._facts.world_size}]"
        return self._text(f"{where} {logging.getLevelName(line.level)} {line.text}", line.rank, "stdout", time)

    def _text(
        self, text: str, rank: int = 0, stream: Literal["stdout", "stderr"] = "stdout", time: datetime | None = None
    ) -> TextRecord:
        return TextRecord(self._run.number, text, rank, stream, time or self._clock.time())
