"""Shows records on the screen: log lines in the words of a voice, GPU grids, and the summary's table.

A kind of record for which a framework's voice has no words is left out. If the house's words for it are a warning, that
is logged with the house's prefix on standard error, so that no warning is lost and no parser of the log is disturbed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from accelerate_sim.display.folding import fold
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.records import (
    EarlyEndRecord,
    GpuRecord,
    LaunchRecord,
    RankStepRecord,
    Record,
    RunFacts,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.reporting.streams import Streams
from accelerate_sim.voices.voice import Bar, Line, Speaker, speaker_of

if TYPE_CHECKING:
    from accelerate_sim.sim.plan import Plan
    from accelerate_sim.voices.explanations import Explainer

logger = logging.getLogger(__name__)


def log(level: int, text: str, rank: int, moment: datetime | None = None) -> None:
    """Log a line of ``rank`` to Python's ``logging``; ``moment`` is its time, None the present time of the clock."""
    logger.log(level, text, extra={"rank": rank, "moment": moment})


class RunConsole:
    """Shows what a process reports on its screen.

    ``rank`` is the rank that the process plays, whose lines alone it logs; None: it plays all ranks and logs all lines.
    ``ranks`` are those of a process that plays several.
    ``now`` is the present time of the simulated clock. ``bars``: show progress bars.
    """

    def __init__(
        self, screen: Screen, style: Style, rank: int | None, now: Callable[[], datetime], *, bars: bool = True,
        ranks: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.screen = screen
        self.style = style
        self.rank = rank
        self._ranks = ranks or ([] if rank is None else [rank])
        self.run: RunFacts | None = None
        self.detail_ranks: Sequence[int] = ()
        """Ranks that this process plays and that report detail lines of their own."""
        self._explainer: Explainer | None = None
        """Logs the reason after lines of the house's voice; None: no reasons are logged."""
        self.log: Callable[[int, str, int, datetime | None], None] = log
        """Logs a line: level, text, rank and moment."""
        self._draws_tables = True
        """Draw GPU grids and summaries."""
        self._now = now
        self._bars = bars
        self._plan: Plan | None = None
        self._speaker: Speaker | None = None
        self._streams: Streams | None = None
        """Streams of a framework's voice; None in house style."""
        self._told: Sequence[int] | None = None
        """Ranks that log steps, if the config names them."""

    def draw_no_tables(self) -> None:
        """Draw no GPU grids and summaries from now on."""
        self._draws_tables = False

    def explain_by(self, explainer: Explainer) -> None:
        """Log the reason after lines of the house's voice."""
        self._explainer = explainer

    def log_by(self, log: Callable[[int, str, int, datetime | None], None]) -> None:
        """Log lines with ``log`` from now on."""
        self.log = log

    def begin(self, plan: Plan) -> None:
        """Show the records of the run of ``plan`` from now on; until the first call nothing is shown."""
        known = self._plan
        if known and known.config is plan.config and known.number == plan.number:
            return  # the voice goes on with what it has counted
        from accelerate_sim.reporting.build import run_facts  # --help needs no plan

        self._plan = plan
        self.run = run_facts(plan)
        self._speaker = speaker_of(plan, self.run, self._now)
        self._told = ranks_that_log(plan.config.log.ranks, self.run)
        is_house = self._speaker.voice.is_house
        if is_house and self._told is None and self.rank is not None and self.run.nodes > 1:
            self._told = ranks_that_log("node", self.run)
        has_details = RankStepRecord in self._speaker.voice.lines and self._told != [0]
        self.detail_ranks = self._played(self._told or ()) if has_details else ()
        self._streams = None if is_house else Streams(self.screen, bars=self._bars)

    def _played(self, ranks: Sequence[int]) -> Sequence[int]:
        """Those of the ranks that this process plays."""
        return ranks if self.rank is None else [rank for rank in self._ranks if rank in ranks]

    def _logs_for(self, rank: int) -> bool:
        return self.rank is None or rank in self._ranks

    @property
    def is_house(self) -> bool:
        """True if the screen has the house's tables, bars and prefix, and the script's own lines."""
        return self._streams is None

    @property
    def logs_whole_run(self) -> bool:
        """True if this process prints lines about the whole run, and so needs all records."""
        if self.rank is None or self._speaker is None or self.is_house:
            return self.rank in (None, 0)
        return any(rank in self._speaker.ranks or rank in (self._told or ()) for rank in self._ranks)

    @property
    def table_width(self) -> int:
        """Columns that a table may take."""
        return self.screen.table_width

    def flush(self) -> None:
        """Write what has been collected for standard error."""
        if self._streams:
            self._streams.flush()

    def warn(self, text: str) -> None:
        """Print a line of the house's on standard error, beside the lines of a framework."""
        if self._streams:
            self._streams.show(Line(text, to_stderr=True))

    def end_early(self, record: EarlyEndRecord) -> None:
        """Print the session's last line; beside the lines of a framework it goes to standard error."""
        text = f"{record.reason.capitalize()}: {record.where}" + (f" | {record.saved}" if record.saved else "")
        if self._streams is None:
            self.screen.write(fold(text, self.screen.width))
            return
        self.observe(record)
        self._streams.end_bar()
        self.warn(text)

    def observe(self, record: Record) -> None:
        if self.run is None or self._speaker is None:
            return
        if type(record) is LaunchRecord and self._plan and not self.is_house:
            # What a framework has counted and averaged is gone with the process of the attempt before.
            self._speaker = speaker_of(self._plan, self.run, self._now)
        voice, state, _ = self._speaker
        wording = voice.lines.get(type(record))
        if self._streams:
            if wording is None:
                self._log_warnings(record, self.run)
            elif type(record) is StepRecord and self._told is not None and not self.detail_ranks:
                self._say_for_all(wording(record, state), self._streams)
            else:
                self._say(wording(record, state), self._streams)
            return
        if isinstance(record, GpuRecord | SummaryRecord) and self._draws_tables:
            self._draw(record, self.run)
        if wording is not None:
            said = False
            for line in wording(record, state):
                if self._logs_for(line.rank):
                    said = True
                    self.log(line.level, line.text, line.rank, line.time)
            if said and self._explainer:
                self.screen.write(list(self._explainer.lines(record, self.run.run, self.screen.width)))

    def _say(self, items: Iterable[Line | Bar], streams: Streams) -> None:
        for item in items:
            if self._logs_for(0 if isinstance(item, Bar) else item.rank):
                streams.show(item)

    def _say_for_all(self, items: Iterable[Line | Bar], streams: Streams) -> None:
        """Print the lines of a step once for each rank that the config names, bars as always."""
        ranks = self._played(self._told or ())
        for item in items:
            if isinstance(item, Bar):
                self._say((item,), streams)
                continue
            for rank in ranks:
                streams.show(item, speaker=rank)

    def _log_warnings(self, record: Record, run: RunFacts) -> None:
        """Log the warnings that the house has for a record, which a framework has no words for."""
        from accelerate_sim.voices import house

        if (wording := house.LINES.get(type(record))) is None:
            return
        for line in wording(record, run):
            if line.level >= logging.WARNING and self._logs_for(line.rank):
                self.log(line.level, line.text, line.rank, None)

    def renamed(self, record: SummaryRecord) -> SummaryRecord:
        """The summary with the names that the screen shows."""
        named = self.screen.named
        return replace(
            record, model=named(record.model), gpu=named(record.gpu), export_path=named(record.export_path)
        )  # fmt: skip

    def _draw(self, record: GpuRecord | SummaryRecord, run: RunFacts) -> None:
        # The tables are imported when the first is drawn: numpy, which they load, takes longer than all lines before.
        if isinstance(record, SummaryRecord):
            from accelerate_sim.display.summary import summary_table

            record = self.renamed(record)
            self.screen.write(summary_table(record, self.table_width, self.style))
        elif record.phase == "step":
            from accelerate_sim.display.gpu.table import gpu_table

            self.screen.write(gpu_table(record, self.table_width, self.style, run.host))


def ranks_that_log(who: str | None, run: RunFacts) -> Sequence[int] | None:
    """The ranks that ``log.ranks`` names; None if it names none."""
    if who == "main":
        return [0]
    if who == "node":
        return range(0, run.world_size, run.gpus_per_node)
    return range(run.world_size) if who == "all" else None
