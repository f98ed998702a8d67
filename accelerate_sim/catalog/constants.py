"""Constants of the speed and memory model, fitted or published, each with its source and what it holds for."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).with_name("constants.json")


class Constant(NamedTuple):
    """One number of the model."""

    value: float
    low: float
    """Least value that physics allows; a fit stays above it, and below ``high``."""
    high: float
    prior: float
    """What it would be without the fit: published, measured elsewhere, or an estimate."""
    trust: float
    """How far a fit may take it from there, as a standard deviation of its logarithm; 0: it is not fitted."""
    source: str
    """Where it comes from, and what it is a figure of."""
    holds_for: str = ""
    """Machines, software, shapes and sizes that it was measured on or fitted to; beyond them it is extrapolated."""


@cache
def constant_table() -> Mapping[str, Constant]:
    """All constants by name."""
    return read_constants(PATH)


@cache
def constants() -> Mapping[str, float]:
    """The values by name."""
    return {name: constant.value for name, constant in constant_table().items()}


def read_constants(path: Path) -> dict[str, Constant]:
    """The constants of a file; raise ``OSError``, or ``ValueError`` and its like for one that is none."""
    return {name: Constant(**entry) for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}


def with_values(table: Mapping[str, Constant], values: Mapping[str, float]) -> str:
    """The text of a file like ``table`` with other values."""
    entries = {name: constant._replace(value=values[name])._asdict() for name, constant in table.items()}
    return json.dumps(entries, indent=1) + "\n"
