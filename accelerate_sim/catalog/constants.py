"""Constants of the speed and memory model, fitted or published, each with its source and what it holds for."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).with_name("constants.json")


class Constant(NamedTuple):
    """One number of the model, with its bounds and its source."""

    value: float
    low: float
    """Least value that physics allows; a fit stays above it, and below ``high``."""
    high: float
    prior: float
    """Value without the fit: published, measured elsewhere, or an estimate."""
    trust: float
    """Standard deviation of the logarithm by which a fit may move it from there; 0: it is not fitted."""
    source: str
    """Origin of the value, and the quantity that it is a figure of."""
    holds_for: str = ""
    """Machines, software, shapes and sizes that it was measured on or fitted to; beyond them it is extrapolated."""


@cache
def constant_table() -> Mapping[str, Constant]:
    """Return all constants by name."""
    return read_constants(PATH)


@cache
def constants() -> Mapping[str, float]:
    """Return the values by name."""
    return {name: constant.value for name, constant in constant_table().items()}


def read_constants(path: Path) -> dict[str, Constant]:
    """Return the constants of a file; raise ``OSError``, or ``ValueError`` and its like for one that is none."""
    return {name: Constant(**entry) for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}


def with_values(table: Mapping[str, Constant], values: Mapping[str, float]) -> str:
    """Return the text of a file like ``table`` with other values."""
    entries = {name: constant._replace(value=values[name])._asdict() for name, constant in table.items()}
    return json.dumps(entries, indent=1) + "\n"
