"""The handler of Python's ``logging`` that prints records on a session's screen.

A line is ``[YYYY-mm-dd HH:MM:SS] [Rank r/W] LEVEL message``, in simulated time. In the voice of a framework the planned
script's own lines are left out, except warnings, which go to standard error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from accelerate_sim.display.folding import fold
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.records.timestamps import to_seconds
from accelerate_sim.reporting.console import RunConsole, log, logger
from accelerate_sim.session.runs import Runs

PREFIX = "[%(asctime)s] [Rank %(rank)d/%(world_size)d]"
DATE = "%Y-%m-%d %H:%M:%S"
COLORS = {"DEBUG": "thin_white", "INFO": "green", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold_red"}


class LoggingSession(Protocol):
    """The part of a session that its lines need."""

    screen: Screen
    style: Style
    clock: Clock
    console: RunConsole
    world_size: int
    runs: Runs

    @property
    def shows_script(self) -> bool:
        """True if the script's own lines are shown."""


class ScreenHandler(logging.Handler):
    """Prints records on a session's screen, folded to its width."""

    def __init__(self, session: LoggingSession) -> None:
        super().__init__(logging.INFO)
        self.session = session
        self._moment: datetime | None = None
        """Time of the present record; None: that of the clock."""
        self._is_plain = not session.style.color
        self.setFormatter(self._formatter())

    def _formatter(self) -> logging.Formatter:
        if self.session.style.color:
            formatter = _colored_formatter()
        else:
            formatter = logging.Formatter(f"{PREFIX} %(levelname)s %(message)s", DATE)
        formatter.converter = lambda _: (self._moment or self.session.clock.time()).timetuple()
        return formatter

    def emit(self, record: logging.LogRecord) -> None:
        record.world_size = self.session.world_size
        record.rank = rank = getattr(record, "rank", 0)
        self._moment = self._moment_of(rank, getattr(record, "moment", None))
        self._print(record.levelno, rank, lambda: self.format(record))

    def _print_line(self, level: int, text: str, rank: int, moment: datetime | None) -> None:
        """Print what ``emit`` prints for a record of these figures."""
        time = self._moment_of(rank, moment) or self.session.clock.time()
        prefix = f"[{to_seconds(time)}] [Rank {rank}/{self.session.world_size}] {logging.getLevelName(level)} "
        self._print(level, rank, lambda: prefix + text)

    def log(self, level: int, text: str, rank: int, moment: datetime | None = None) -> None:
        """Log a line of the console. A ``LogRecord``, which is slower to make, is made only for other handlers."""
        if not self._is_alone():
            log(level, text, rank, moment)
        elif level >= self.level and logger.isEnabledFor(level):
            self._print_line(level, text, rank, moment)

    def _is_alone(self) -> bool:
        """True if this handler is the only reader of the console's records, and prints them without colours."""
        root = logging.root
        return (
            self._is_plain
            and logger.parent is root
            and len(root.handlers) == 1
            and root.handlers[0] is self
            and not (logger.handlers or logger.filters or self.filters)
            and logging.getLogRecordFactory() is logging.LogRecord
        )

    def _moment_of(self, rank: int, moment: datetime | None) -> datetime | None:
        """The time that a line of ``rank`` shows; None: that of the clock."""
        if self.session.runs.skew:
            return (moment or self.session.clock.time()) + self.session.runs.skew(rank)
        return moment

    def _print(self, level: int, rank: int, line: Callable[[], str]) -> None:
        if (outlet := self.session.screen.outlet) is not None:
            outlet.write_as(rank, printed_by=rank)
        if self.session.shows_script:
            screen = self.session.screen
            if outlet is not None:
                screen.write([line()])  # whole, so that hazards and their truth have one line; it is folded behind them
            else:
                screen.write(fold(screen.named(line()), screen.width))
        elif level >= logging.WARNING:
            self.session.console.warn(line())
        if outlet is not None:
            outlet.write_as(None)


def _colored_formatter() -> logging.Formatter:
    # Imported here, because colorlog is slow to import and output without colours does not need it.
    from colorlog import ColoredFormatter

    text = PREFIX.replace("[%(asctime)s]", "%(thin)s[%(asctime)s]%(reset)s").replace("[Rank", "%(cyan)s[Rank")
    return ColoredFormatter(
        text + "%(reset)s %(log_color)s%(levelname)s%(reset)s %(message_log_color)s%(message)s%(reset)s",
        datefmt=DATE,
        reset=False,
        log_colors=COLORS,
        secondary_log_colors={"message": {"WARNING": "yellow", "ERROR": "red"}},
        force_color=True,
    )


@contextmanager
def logging_to(session: LoggingSession) -> Iterator[None]:
    """Print what is logged inside the block on the session's screen, from level INFO on."""
    handler, root = ScreenHandler(session), logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    session.console.log_by(handler.log)
    try:
        yield
    finally:
        session.console.log_by(log)
        root.removeHandler(handler)


def log_in_cells(session: LoggingSession) -> None:
    """Print what ranks log in a notebook that has not configured Python's logging; it still can.

    Lines of other packages are printed from level WARNING on, as without this.
    """
    handler = ScreenHandler(session)
    handler.addFilter(lambda record: hasattr(record, "rank") or record.levelno >= logging.WARNING)
    logging.lastResort = handler
    if logging.root.level == logging.WARNING:
        logging.root.setLevel(logging.INFO)
