"""Log lines: ``[YYYY-mm-dd HH:MM:SS] [Rank r/W] LEVEL message``, in simulated time, on the session's screen.

``get_logger`` is Accelerate's: only the main process logs, unless ``main_process_only=False``. ``rank=k`` makes the
line one of rank k, which is this process or a rank that it plays.
"""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

from accelerate_sim.display.style import columns
from accelerate_sim.session.session import Session

PREFIX = "[%(asctime)s] [Rank %(rank)d/%(world_size)d]"
DATE = "%Y-%m-%d %H:%M:%S"
CONTINUATION = 22
"""Columns by which continuation lines are indented, so that they begin below the rank."""
COLORS = {"DEBUG": "thin_white", "INFO": "green", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold_red"}


class MultiProcessAdapter(logging.LoggerAdapter[logging.Logger]):
    """A logger of a job with many ranks, of which usually one logs."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log the line if this process plays the rank that the line belongs to."""
        placement = Session.current().placement
        own = placement.rank if placement else 0
        if not kwargs.get("main_process_only", True):
            kwargs.setdefault("rank", own)
        if placement is None or kwargs.get("rank", 0) == own:
            super().log(level, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs.pop("main_process_only", None)
        kwargs.pop("in_order", None)
        kwargs["extra"] = {"rank": kwargs.pop("rank", 0)}
        return msg, kwargs


def get_logger(name: str, log_level: str | None = None) -> MultiProcessAdapter:
    """A logger called ``name``; its lines go to the session's screen."""
    logger = logging.getLogger(name)
    if log_level is not None:
        logger.setLevel(log_level.upper())
    return MultiProcessAdapter(logger, {})


class ScreenHandler(logging.Handler):
    """Puts records on a session's screen, folded to its width."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self.session = session
        self.setFormatter(self._formatter())

    def _formatter(self) -> logging.Formatter:
        if self.session.style.color:
            formatter = _colored_formatter()
        else:
            formatter = logging.Formatter(f"{PREFIX} %(levelname)s %(message)s", DATE)
        formatter.converter = lambda _: self.session.clock.time().timetuple()
        return formatter

    def emit(self, record: logging.LogRecord) -> None:
        record.world_size = self.session.world_size
        if not hasattr(record, "rank"):
            record.rank = 0
        self.session.screen.write(fold(self.format(record), self.session.screen.width))


def _colored_formatter() -> logging.Formatter:
    # Imported here, because it is slow to import and not all outputs have colours.
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


_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def fold(line: str, width: int) -> list[str]:
    """Break a line that is wider than ``width - 1`` columns at " | " or at spaces, and indent the continuation."""
    room = max(width - 1, 1)
    if _columns(line) <= room:
        return [line]
    # Colours end before the message unless it is a warning, which keeps its colour on every line.
    indent = " " * min(CONTINUATION, width // 4)
    folded, current = [], ""
    for word in _words(line, room - len(indent)):
        if current and _columns(current) + _columns(_without_separator(word)) > room:
            folded.append(_without_separator(current))
            current, word = indent, word.lstrip().removeprefix("| ")
        current += word
    return [*folded, _without_separator(current)]


def _words(line: str, room: int) -> list[str]:
    """Pieces of a line that are not broken: its fields if it has several, else words; none is wider than ``room``."""
    pieces = re.split(r"(?<= \| )", line)
    if len(pieces) < 3:
        pieces = [line]
    return [part for piece in pieces for part in _parts(piece, room)]


def _parts(piece: str, room: int) -> list[str]:
    if _columns(piece.rstrip()) <= room:
        return [piece]
    return [part for word in re.findall(r"\s*\S+\s*", piece) for part in _cut(word, room)]


def _cut(word: str, room: int) -> list[str]:
    """A word, cut into parts that fit into ``room``."""
    if _columns(word.rstrip()) <= room:
        return [word]
    parts = [""]
    for atom in re.findall(_ESCAPES.pattern + "|.", word, re.DOTALL):
        if _columns(parts[-1] + atom) > room:
            parts.append("")
        parts[-1] += atom
    return parts


def _without_separator(text: str) -> str:
    return text.rstrip().removesuffix(" |").rstrip()


def _columns(text: str) -> int:
    return columns(_ESCAPES.sub("", text))
