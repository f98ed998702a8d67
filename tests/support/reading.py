"""A played run as a reader meets it: its text, line by line, and its metrics file. Nothing here knows the simulator.

Figures read from text are intervals: ``4.1239`` stands for everything that is printed so. Sums and products of printed
figures then hold or do not hold at printed precision, whatever was rounded on the way.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15, "Q": 1e15}
ULP = 1e-12
"""Relative slack for the arithmetic itself, which is done in binary."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """All numbers between two ends."""

    low: float
    high: float

    def __add__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        return Interval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        return Interval(self.low - other.high, self.high - other.low)

    def __mul__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval | float) -> Interval:
        other = as_interval(other)
        assert other.low * other.high > 0, "divided by what may be zero"
        return self * Interval(1 / other.high, 1 / other.low)

    def exp(self) -> Interval:
        return Interval(math.exp(self.low), math.exp(self.high))

    def agrees(self, other: Interval | float) -> bool:
        """True if the two can be the same number."""
        other = as_interval(other)
        slack = ULP * max(map(abs, (self.low, self.high, other.low, other.high)))
        return self.low <= other.high + slack and other.low <= self.high + slack


def as_interval(number: Interval | float) -> Interval:
    return number if isinstance(number, Interval) else Interval(number, number)


def printed(text: str) -> Interval:
    """All values that ``42,265`` or ``4.50e-05`` or ``987.8 GB`` stands for: half a last digit either way."""
    found = re.fullmatch(r"(-?[\d,]+(?:\.\d+)?(?:e[+-]\d+)?)\s*([kKMGTPBQ]?)(?:B|GB/s|W|Wh|s)?", text.strip())
    assert found, f"{text!r} is no figure"
    value = Decimal(found[1].replace(",", ""))
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    scale = UNITS[found[2]]
    half = 0.5 * 10.0**exponent * scale
    return Interval(float(value) * scale - half, float(value) * scale + half)


def count(text: str) -> int:
    """A whole number with or without thousands separators."""
    return int(text.replace(",", ""))


def power_falls(looks: dict[int, list[float]], rank: int, step: int) -> bool:
    """True if a rank draws less, next to the median, in the looks after a step than well before it.

    One look is a sample, and its chance is as large as what a slow GPU saves.
    """

    def share(first: int, last: int) -> float:
        seen = [watts for at, watts in looks.items() if first <= at <= last]
        return fmean(watts[rank] / median(watts) for watts in seen)

    return share(step, step + 20) < share(step - 40, step - 10) - 0.02


def clock(text: str) -> int:
    """Seconds of ``05:54``, ``1:02:03`` or ``1d 02:03:04``."""
    days, _, rest = text.rpartition("d ")
    seconds = 0
    for part in rest.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds + 86400 * count(days or "0")


@dataclass(frozen=True)
class LogLine:
    """``[time] [Rank r/W] LEVEL message``."""

    time: datetime
    rank: int
    world: int
    level: str
    message: str

    _FORM = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\] \[Rank (\d+)/(\d+)\] ([A-Z]+) (.*)")

    @classmethod
    def of(cls, line: str) -> LogLine | None:
        found = cls._FORM.fullmatch(line)
        if not found:
            return None
        time = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S")
        return cls(time, int(found[2]), int(found[3]), found[4], found[5])

    def fields(self) -> list[str]:
        return [field.strip() for field in self.message.split(" | ")]


@dataclass(frozen=True)
class StepLine:
    """The detail line of a step, its figures as text."""

    time: datetime
    step: int
    loss: str
    ppl: str
    grad_norm: str
    lr: str
    rate: str
    mfu: str
    memory: str
    memory_total: str

    _FORM = re.compile(
        r"step (\d+) \| loss (\d+\.\d{4}) \| ppl ([\d,]+\.\d\d) \| grad_norm (\d+\.\d{3}) \| lr (\d\.\d\de[+-]\d\d) \| "
        r"tokens/s ([\d,]+) \| MFU (\d+\.\d%|n/a) \| mem (\d+\.\d)/(\d+\.\d) GiB"
    )

    @classmethod
    def of(cls, line: LogLine) -> StepLine | None:
        found = cls._FORM.fullmatch(line.message)
        return cls(line.time, int(found[1]), *found.groups()[1:]) if found else None


@dataclass(frozen=True)
class StepBar:
    """The bar of an epoch, its figures as text."""

    epoch: int
    epochs: int
    percent: int
    done: int
    total: int
    elapsed: str
    eta: str
    step_s: float
    loss: str
    ppl: str
    lr: str
    rate: str

    _FORM = re.compile(
        r"Epoch (\d+)/(\d+): +(\d+)%\|.*\| (\d+)/(\d+) \[([\d:]+)<([\d:]+), +([\d.]+)(s/step|step/s), "
        r"loss=(\d+\.\d{4}), ppl=([\d,]+\.\d\d), lr=(\d\.\d\de-\d\d), tok/s=([\d,]+)\]"
    )

    @classmethod
    def of(cls, line: str) -> StepBar | None:
        found = cls._FORM.fullmatch(line)
        if not found:
            return None
        pace = float(found[8])
        figures = (found[6], found[7], pace if found[9] == "s/step" else 1 / pace, *found.groups()[9:])
        return cls(*map(int, found.groups()[:5]), *figures)


@dataclass(frozen=True)
class Grid:
    """A grid of all GPUs: its header and a cell per GPU, in rank order."""

    step: int
    header: str
    labels: tuple[str, ...]
    cells: tuple[tuple[int, float, float, int, int], ...]
    """(utilization %, GiB used, GiB in all, degrees Celsius, W)."""

    _CELL = re.compile(r"(\d+)% +([\d.]+)/([\d.]+)(?: GiB)? +(-?\d+)°C? +(\d+)W")

    @classmethod
    def of(cls, lines: list[str]) -> Grid:
        """From the header line on."""
        found = re.search(r"^[\d,]+ GPUs?\b.*?\bstep (\d+)\b", lines[0])
        assert found, lines[0]
        labels, cells = [], []
        for line in lines[1:]:
            row = cls._CELL.findall(line)
            if not row:
                break
            labels.append(line.split("│")[0])
            cells += [(int(u), float(used), float(total), int(c), int(w)) for u, used, total, c, w in row]
        return cls(int(found[1]), lines[0], tuple(labels), tuple(cells))


@dataclass(frozen=True)
class Played:
    """A run that was played to its end on a pipe."""

    text: str
    directory: Path

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def log(self) -> list[LogLine]:
        return [parsed for line in self.lines if (parsed := LogLine.of(line))]

    @cached_property
    def events(self) -> list[Event]:
        with (self.directory / "metrics.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def of(self, event: str) -> list[Event]:
        """Events of one kind."""
        return [each for each in self.events if each["event"] == event]

    @property
    def start(self) -> Event:
        return self.events[0]

    @property
    def stepping_gpus(self) -> list[Event]:
        """Looks at the GPUs at the end of a step, as the screen has them; others are at what comes between."""
        return [event for event in self.of("gpu") if event["phase"] == "step"]

    @property
    def summary_event(self) -> Event:
        return self.of("summary")[0]

    @cached_property
    def step_lines(self) -> list[StepLine]:
        return [parsed for line in self.log if (parsed := StepLine.of(line))]

    @cached_property
    def bars(self) -> list[StepBar]:
        return [parsed for line in self.lines if (parsed := StepBar.of(line))]

    @cached_property
    def grids(self) -> list[Grid]:
        heads = [number for number, line in enumerate(self.lines) if re.match(r"[\d,]+ GPUs?\b.*\bstep \d+", line)]
        return [Grid.of(self.lines[number:]) for number in heads]

    @cached_property
    def summary(self) -> dict[str, str]:
        """Figures of the closing table by their labels, without what follows them in brackets."""
        rows = (re.fullmatch(r"│ {3}(\S.*?) {2,}(\S.*?) *│", line) for line in self.lines)
        return {row[1]: row[2] for row in rows if row}

    def said(self, pattern: str) -> LogLine:
        """The one line of the log that begins like this."""
        found = self.all_said(pattern)
        assert len(found) == 1, f"{len(found)} lines begin with {pattern!r}"
        return found[0]

    def all_said(self, pattern: str) -> list[LogLine]:
        return [line for line in self.log if re.match(pattern, line.message)]

    def match(self, pattern: str) -> re.Match[str]:
        """The first message that matches as a whole."""
        found = next(self.matches(pattern), None)
        assert found, f"no line matches {pattern!r}"
        return found

    def matches(self, pattern: str) -> Iterator[re.Match[str]]:
        return (found for line in self.log if (found := re.fullmatch(pattern, line.message.strip())))

    def architecture(self) -> dict[str, int]:
        """Figures of the architecture line by their names."""
        text = self.said("Architecture: ").message
        after = re.findall(r"([\d,]+) (layers|heads|kv heads|experts|active)", text)
        before = re.findall(r"(hidden|ffn|vocab|context) ([\d,]+)", text)
        return {name: count(number) for number, name in after} | {name: count(number) for name, number in before}


Completed = subprocess.CompletedProcess[str]
Train = Callable[..., Completed]
"""``train(*arguments)`` runs train.py."""
Play = Callable[..., Played]
"""``play(*arguments)`` plays a run to its end."""
