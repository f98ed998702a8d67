"""The rows that a plan's sections consist of."""

from dataclasses import dataclass

from accelerate_sim.display.units import si_text


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and a sentence."""

    label: str
    text: str
    color: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A figure and its share of a whole."""

    label: str
    figure: str
    share: float


Section = tuple[str, list[Fact | Part]]


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 step``, ``2 steps``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def si_seconds_text(seconds: float) -> str:
    """A time in seconds, or in a smaller unit below one second."""
    return f"{seconds:,.3f} s" if seconds >= 1 else si_text(seconds, "s")
