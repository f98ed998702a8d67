"""Problems of a configuration, worded so that its author can correct them.

Nothing is printed here. Text from outside is escaped, so a message cannot move the cursor of a terminal.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fake_torch_dist.terminal.descriptor import printable as printable

LONGEST_VALUE = 60
"""Characters of a value that a message shows."""


@dataclass(frozen=True)
class Problem:
    """One problem, with the way out."""

    source: str
    """File, or option of the command line; empty while the place is unknown."""
    line: int | None
    """Line of the file, from 1."""
    key: str
    """Dotted, e.g. ``train.lr``; empty when the problem is the whole file's."""
    value: str | None
    """The value as shown; None if the reason is a complete sentence."""
    reason: str
    """Predicate of the sentence that ``key = value`` begins, such as ``is not above 0``."""
    way_out: str
    related: tuple[str, ...] = ()
    """Other keys that this one has to agree with."""

    @classmethod
    def about(cls, key: str, value: str | None, reason: str, way_out: str, related: tuple[str, ...] = ()) -> "Problem":
        """A problem of a key whose place is filled in later."""
        return cls("", None, key, value, reason, way_out, related)

    def __str__(self) -> str:
        source, value = printable(self.source), printable(self.value)
        place = f"{source}:{self.line}: " if self.line else f"{source}: " if source else ""
        subject = f"{self.key} = {value}" if self.key else value
        statement = self.reason if self.value is None else f"{subject} {self.reason}"
        return f"{place}{statement}. {self.way_out}".rstrip()


class ConfigError(Exception):
    """All problems of a configuration, one per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shown(value: Any) -> str:
    """A value as a message shows it: close to how YAML writes it, on one line, cut when long."""
    return _cut(_flow(value))


def shorten(text: str) -> str:
    """A name as a message shows it: escaped, and cut when long."""
    return _cut(printable(text[: LONGEST_VALUE + 1]))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _flow(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + printable(value[: LONGEST_VALUE + 1]) + "'"
    if isinstance(value, Mapping):
        # Only the first items are formatted: the rest is cut off, and aliases can make a value very long.
        return "{" + ", ".join(f"{shorten(str(key))}: {_flow(item)}" for key, item in list(value.items())[:9]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value[:9])) + "]"
    return _float(value) if isinstance(value, float) else str(value)


def _float(value: float) -> str:
    """Six digits, small numbers as people write them: 1.5e-4."""
    text = f"{value:.6g}"
    if 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.5e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return text
