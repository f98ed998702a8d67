"""``FaultSpan``: lengths as the fault language writes them: ``90s``, ``1h30m``, ``40steps``, ``ever``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from accelerate_sim.faults.mistake import FaultMistake, quoted

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_S = 1e10
MOST_STEPS = 10**9
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,25})?(?:e[+-]?\d{1,3})?)(ms|s|m|h|d)", re.ASCII)
_STEPS = re.compile(r"(\d{1,10})steps?", re.ASCII)


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A length of simulated time or of steps; one of the two is set. ``seconds`` is infinite for ``ever``."""

    seconds: float | None = None
    steps: int | None = None

    def length_s(self, step_s: float) -> float:
        """Its length in seconds, where a step takes ``step_s``."""
        return self.steps * step_s if self.steps is not None else self.seconds or 0.0

    def __str__(self) -> str:
        """The canonical text, which parses to an equal span."""
        if self.steps is not None:
            return f"{self.steps}steps"
        assert self.seconds is not None
        return "ever" if math.isinf(self.seconds) else seconds_text(self.seconds)


EVER = FaultSpan(math.inf)
NOTHING = FaultSpan(0.0)


def seconds_text(seconds: float) -> str:
    """A time with the largest unit in which it is a whole number: ``90s``, ``2h``."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % UNITS_S[unit] == 0:
            return f"{int(seconds / UNITS_S[unit])}{unit}"
    return f"{int(seconds)}s" if seconds.is_integer() else f"{seconds!r}s"


def parse_seconds(text: str) -> float:
    """A time such as ``90s``, ``12m`` or ``1h30m`` in seconds. Raises FaultMistake."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise FaultMistake(f"{quoted(text)} is no time", "Write it with its unit: 500ms, 90s, 12m, 3h or 1h30m.")
    seconds = math.fsum(float(number) * UNITS_S[unit] for number, unit in parts)
    if seconds > LONGEST_S:
        raise FaultMistake(f"{quoted(text)} is too long a time", "Write 'ever' for no end.")
    return seconds


def parse_span(text: str, *, ever: bool = True) -> FaultSpan:
    """A time, a number of steps (``40steps``) or, where it is allowed, ``ever``. Raises FaultMistake."""
    if ever and text == "ever":
        return EVER
    if found := _STEPS.fullmatch(text):
        if int(found[1]) > MOST_STEPS:
            raise FaultMistake(f"{quoted(text)} is too many steps", "Write 'ever' for no end.")
        return FaultSpan(steps=int(found[1]))
    try:
        return FaultSpan(parse_seconds(text))
    except FaultMistake:
        way_out = f"Write a time such as 90s or 12m, or steps as in 40steps{', or ever' if ever else ''}."
        raise FaultMistake(f"{quoted(text)} is neither a time nor a number of steps", way_out) from None
