"""The command line of ``fake-nvidia-smi``: nvidia-smi's options that print, and three of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from accelerate_sim.monitoring.nvidia_smi.displays import DISPLAYS

INVALID = "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n"
"""The text of nvidia-smi."""
DEFAULT_LOOP_S = 5.0


class InvalidArguments(Exception):
    """Raised for a wrong command line. The text goes to standard output, as that of nvidia-smi does."""


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """The format of the CSV, from ``--format``."""

    header: bool = True
    units: bool = True


@dataclass(frozen=True, slots=True)
class Arguments:
    """The output that is asked for, its interval, and the GPUs."""

    help: bool = False
    version: bool = False
    help_query: str | None = None
    """The table whose fields are to be explained, e.g. ``gpu``."""
    list_gpus: bool = False
    query: bool = False
    xml: bool = False
    displays: tuple[str, ...] = ()
    table: str | None = None
    """The table that is queried, and its fields, separated by commas."""
    fields: str = ""
    csv: CsvFormat = field(default_factory=CsvFormat)
    ids: tuple[str, ...] | None = None
    loop_s: float | None = None
    filename: str | None = None
    """The file to write to in place of standard output."""
    node: int = 0
    job: int | None = None

    @property
    def is_for_programs(self) -> bool:
        """True for outputs whose fields programs find by their names."""
        return self.query or self.table is not None


QUERIES = ("gpu", "compute-apps", "accounted-apps", "retired-pages", "remapped-rows", "supported-clocks")
"""Ends of the options ``--query-...`` and ``--help-query-...``."""
_FLAGS = {
    "-h": "help", "--help": "help", "--version": "version",
    "-L": "list_gpus", "--list-gpus": "list_gpus", "-q": "query", "--query": "query", "-a": "query",
    "-x": "xml", "--xml-format": "xml",
}  # fmt: skip
_VALUES = {
    "-i": "id", "--id": "id", "-l": "loop", "--loop": "loop", "-lms": "loop-ms", "--loop-ms": "loop-ms",
    "-d": "display", "--display": "display", "-f": "filename", "--filename": "filename",
    "--format": "format", "--node": "node", "--job": "job",
}  # fmt: skip


def parse(words: Sequence[str]) -> Arguments:
    """Parse the command line. Raises InvalidArguments."""
    found: dict[str, Any] = {}
    has_format = False
    tables = 0
    for kind, value in _options(words):
        if kind == "id":
            found["ids"] = ids_of(value)
        elif kind.startswith("query-"):
            found["table"], found["fields"] = kind.removeprefix("query-"), value
            tables += 1
        elif kind.startswith("help-query-"):
            found["help_query"] = kind.removeprefix("help-query-")
        elif kind in ("loop", "loop-ms"):
            found["loop_s"] = _seconds(value, 1.0 if kind == "loop" else 1e-3)
        elif kind == "display":
            found["displays"] = _displays(value)
        elif kind in ("node", "job"):
            found[kind] = whole(value, f"--{kind}")
        elif kind == "format":
            has_format, found["csv"] = True, _csv(value)
        else:
            found[kind] = value or True
    arguments = Arguments(**found)
    if arguments.table and not has_format:
        raise InvalidArguments("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n")
    modes = arguments.list_gpus + arguments.query + tables
    if modes > 1 or (has_format and not arguments.table) or (arguments.xml and not arguments.query):
        raise InvalidArguments(INVALID)
    return arguments


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, value) of each option; values follow after ``=`` or as the next word."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            yield _FLAGS[word], ""
        elif word.removeprefix("--help-query-") in QUERIES and word.startswith("--help"):
            yield word.removeprefix("--"), ""
        elif name.removeprefix("--query-") in QUERIES and name.startswith("--query-"):
            yield name.removeprefix("--"), value if equals else _next(waiting)
        elif name in _VALUES and equals:
            yield _VALUES[name], value
        elif word in ("-l", "--loop") and (not waiting or waiting[0].startswith("-")):
            yield "loop", str(DEFAULT_LOOP_S)
        elif word in _VALUES:
            yield _VALUES[word], _next(waiting)
        else:
            raise InvalidArguments(INVALID)


def _next(waiting: list[str]) -> str:
    """The value of an option, which is the next word. Raises InvalidArguments."""
    if not waiting or waiting[0].startswith("-"):
        raise InvalidArguments(INVALID)
    return waiting.pop(0)


def ids_of(text: str) -> tuple[str, ...]:
    """The GPUs that ``-i`` names."""
    return tuple(each.strip() for each in text.split(","))


def _seconds(text: str, unit_s: float) -> float:
    try:
        seconds = float(text) * unit_s
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= 86400.0:
        raise InvalidArguments(INVALID)
    return seconds


def whole(text: str, option: str) -> int:
    """The whole number that is an option's value. Raises InvalidArguments."""
    if not (text.isascii() and text.isdecimal()):
        raise InvalidArguments(f"{option} takes a whole number, not {text!r}.\n")
    return int(text)


def _displays(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().upper() for name in text.split(","))
    if not set(names) <= DISPLAYS.keys():
        raise InvalidArguments(INVALID)
    return names


def _csv(text: str) -> CsvFormat:
    words = {word.strip() for word in text.split(",")}
    if "csv" not in words or not words <= {"csv", "noheader", "nounits"}:
        raise InvalidArguments(INVALID)
    return CsvFormat(header="noheader" not in words, units="nounits" not in words)
