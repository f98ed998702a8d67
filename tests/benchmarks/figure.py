"""A figure of the benchmark page: processor time or memory of a command, over that of the limit it is held against."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.support.repository import ROOT

TRAIN = (sys.executable, str(ROOT / "train.py"))
IMPORTS = (sys.executable, "-c", "import numpy, tqdm, colorlog, typer, yaml, pydantic")
"""The limit of a start: what the project needs, and nothing of the project."""


class Cost(NamedTuple):
    """Processor time and memory that a finished command has used, its children included."""

    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Figure:
    """One row of the page. ``ours`` and ``limit`` measure once; they are called by turns."""

    what: str
    unit: str
    limit_name: str
    ours: Callable[[], float]
    limit: Callable[[], float]


class Measured(NamedTuple):
    """The values of a figure, one of each kind for every round."""

    figure: Figure
    ours: Sequence[float]
    limit: Sequence[float]

    def row(self) -> str:
        """The row of the page: the least value of each kind, the median ratio of a round, and the ratios' spread."""
        ratios = sorted(ours / limit for ours, limit in zip(self.ours, self.limit, strict=True))
        return (
            f"| {self.figure.what} | {_three_digits(min(self.ours))} {self.figure.unit} | {self.figure.limit_name} | "
            f"{_three_digits(min(self.limit))} {self.figure.unit} | {statistics.median(ratios):.2f} | "
            f"{ratios[0]:.2f}-{ratios[-1]:.2f} |"
        )


def _three_digits(value: float) -> str:
    """A value to three digits, without an exponent where it is large."""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def cost_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end. RuntimeError if it fails."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=ROOT)
    assert process.stdout
    with process.stdout as output:
        while output.read(1 << 16):
            pass
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def measure(figures: Sequence[Figure], rounds: int) -> list[Measured]:
    """Measure all figures by turns, so that the speed of a shared machine changes both sides of each ratio."""
    values: list[tuple[list[float], list[float]]] = [([], []) for _ in figures]
    for _ in range(rounds):
        for figure, (ours, limit) in zip(figures, values, strict=True):
            ours.append(figure.ours())
            limit.append(figure.limit())
    return [Measured(figure, *each) for figure, each in zip(figures, values, strict=True)]
