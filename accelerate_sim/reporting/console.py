"""Shows records on the screen: log lines in the words of a voice, GPU grids, and the summary's table."""

from __future__ import annotations

import logging

from accelerate_sim.display.screen import PIPE_WIDTH, Screen
from accelerate_sim.display.style import Style
from accelerate_sim.records import GpuRecord, Record, RunFacts, SummaryRecord
from accelerate_sim.voices.voice import Voice, voice_called

logger = logging.getLogger(__name__)


class Console:
    """Shows what a process reports on its screen.

    ``rank`` is the rank that the process plays, whose lines alone it logs; None: it plays all ranks and logs all lines.
    """

    def __init__(self, screen: Screen, style: Style, rank: int | None) -> None:
        self.screen = screen
        self.style = style
        self.rank = rank
        self.run: RunFacts | None = None
        self._voice: Voice = {}

    def begin(self, run: RunFacts, voice: str) -> None:
        """Show the records of ``run`` in this voice from now on; until the first call nothing is shown."""
        self.run = run
        self._voice = voice_called(voice)

    @property
    def table_width(self) -> int:
        """Columns that a table may take."""
        return self.screen.width if self.screen.live else PIPE_WIDTH

    def flush(self) -> None: ...

    def observe(self, record: Record) -> None:
        if self.run is None:
            return
        if isinstance(record, GpuRecord | SummaryRecord):
            self._draw(record, self.run)
        wording = self._voice.get(type(record))
        if wording is None:
            return
        for line in wording(record, self.run):
            if self.rank is None or line.rank == self.rank:
                logger.log(line.level, line.text, extra={"rank": line.rank})

    def _draw(self, record: GpuRecord | SummaryRecord, run: RunFacts) -> None:
        # The tables are imported when the first is drawn: numpy, which they load, takes longer than all lines before.
        if isinstance(record, SummaryRecord):
            from accelerate_sim.display.summary import summary_table

            self.screen.write(summary_table(record, self.table_width, self.style))
        elif record.phase == "step":
            from accelerate_sim.display.gpu.table import gpu_table

            self.screen.write(gpu_table(record, self.table_width, self.style, run.host))
