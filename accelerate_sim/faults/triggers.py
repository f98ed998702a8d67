"""``At``: the moment at which a fault strikes, as ``at=`` writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from accelerate_sim.faults.mistake import FaultMistake, guess, quoted
from accelerate_sim.faults.spans import MOST_STEPS, FaultSpan, parse_seconds, parse_span, seconds_text

START_PHASES = ("launch", "rendezvous", "load", "nccl", "warmup", "restore")
"""Phases before the first step of an attempt; ``restore`` only where a checkpoint is loaded."""
STEP_PHASES = ("forward", "backward", "allreduce", "optimizer")
"""Phases of each step, in their order."""
LATER_PHASES = ("eval", "checkpoint", "export", "exit")
PHASES = (*START_PHASES, *STEP_PHASES, *LATER_PHASES)
_FORMS = "step:40, time:20m, phase:checkpoint, every:1h, mtti:30m or p:0.001/step"
_KINDS = ("step", "time", "phase", "every", "mtti", "p")


@dataclass(frozen=True, slots=True)
class At:
    """All parts hold at once: from step and second on, in the phase, at each recurrence. No part: from the start."""

    step: int | None = None
    """First step, from 1."""
    time_s: float | None = None
    """First second since the first step of the run began, restarts included."""
    phase: str = ""
    count: int = 1
    """The k-th time of the phase in the life of the job."""
    every: FaultSpan | None = None
    mtti_s: float | None = None
    """Mean time between strikes, which are then drawn."""
    chance: float | None = None
    """Chance of a strike in each step."""

    @property
    def recurs(self) -> bool:
        """True if the trigger recurs by itself."""
        return self.every is not None or self.mtti_s is not None or self.chance is not None

    def __str__(self) -> str:
        parts = [
            f"step:{self.step}" if self.step is not None else "",
            f"time:{seconds_text(self.time_s)}" if self.time_s is not None else "",
            f"phase:{self.phase}" + (f":{self.count}" if self.count > 1 else "") if self.phase else "",
            f"every:{self.every}" if self.every is not None else "",
            f"mtti:{seconds_text(self.mtti_s)}" if self.mtti_s is not None else "",
            f"p:{self.chance!r}/step" if self.chance is not None else "",
        ]
        return "+".join(filter(None, parts))


def parse_at(text: str) -> At:
    """Read ``step:40``, ``time:10m+phase:checkpoint`` and the like. Raises FaultMistake."""
    at = At()
    seen: set[str] = set()
    # A number may have a plus sign of its own, in its exponent.
    for part in re.split(r"(?<!\de)\+", text):
        name, colon, value = part.partition(":")
        if not colon or name not in _KINDS:
            way_out = guess(name, _KINDS, f"Use {_FORMS}.") if colon else f"Use {_FORMS}."
            raise FaultMistake(f"at={quoted(part)} is no moment", way_out)
        if name in seen:
            raise FaultMistake(f"at={quoted(text)} says '{name}' twice", "Keep one of them.")
        seen.add(name)
        at = _with(at, name, value)
    if len(seen & {"every", "mtti", "p"}) > 1:
        raise FaultMistake(f"at={quoted(text)} comes again in two ways", "Keep one of every, mtti and p.")
    if at.phase and at.recurs:
        raise FaultMistake(f"at={quoted(text)} is a phase that comes again", "Leave one out; times=always repeats.")
    return at


def _with(at: At, name: str, value: str) -> At:
    match name:
        case "step":
            return replace(at, step=_whole(value, "step", 1))
        case "time":
            return replace(at, time_s=parse_seconds(value))
        case "phase":
            return _with_phase(at, value)
        case "every":
            return replace(at, every=_above_0(parse_span(value, ever=False), value))
        case "mtti":
            return replace(at, mtti_s=_above_0(FaultSpan(parse_seconds(value)), value).seconds)
    return replace(at, chance=_chance(value))


def _with_phase(at: At, value: str) -> At:
    phase, colon, count = value.partition(":")
    if phase not in PHASES:
        raise FaultMistake(f"{quoted(phase)} is no phase", guess(phase, PHASES, f"Phases are {', '.join(PHASES)}."))
    return replace(at, phase=phase, count=_whole(count, "the number of the phase", 1) if colon else 1)


def _above_0(span: FaultSpan, text: str) -> FaultSpan:
    if not (span.steps or span.seconds):
        raise FaultMistake(f"{quoted(text)} is not above 0", "Use e.g. 30m.")
    return span


def _whole(text: str, what: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or not least <= int(text) <= MOST_STEPS:
        raise FaultMistake(f"{quoted(text)} is no number for {what}", f"Use a whole number from {least} on.")
    return int(text)


def _chance(text: str) -> float:
    number = text.removesuffix("/step")
    if re.fullmatch(r"\d{1,15}(\.\d{1,25})?(e[+-]?\d{1,3})?", number, re.ASCII) and 0 < (chance := float(number)) <= 1:
        return chance
    raise FaultMistake(f"{quoted(text)} is no chance", "Use a number above 0 and up to 1: p:0.001/step.")
