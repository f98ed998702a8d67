"""``Field``: a value that a query prints of a GPU, and the drivers that have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading

NOT_AVAILABLE = "[N/A]"
DEPRECATED = "[Requested functionality has been deprecated]"


class Field(NamedTuple):
    """The function that gives ``value`` of a GPU, and the unit that follows it if it is available."""

    value: Callable[[Reading, Gpu], object]
    unit: str = ""
    aliases: tuple[str, ...] = ()
    """Other names; the header prints the first one."""
    since: int = 0
    """The first branch of the driver that has the field."""
    until: int = 9999
    """The last branch that has it."""
    deprecated: int = 9999
    """The first branch that prints a notice in place of a value."""

    def cell(self, reading: Reading, gpu: Gpu, units: bool) -> str:
        """The text of one cell of CSV."""
        if gpu.branch >= self.deprecated:
            return DEPRECATED
        value = self.value(reading, gpu)
        has_unit = units and self.unit and value != NOT_AVAILABLE
        return f"{value} {self.unit}" if has_unit else str(value)


Fields = Mapping[str, Field]


def fixed(value: object, unit: str = "", *aliases: str) -> Field:
    """A field that is the same on every GPU."""
    return Field(lambda reading, gpu: value, unit, aliases)


def of_gpu(value: Callable[[Gpu], object], unit: str = "", *aliases: str) -> Field:
    """A field that a GPU alone decides."""
    return Field(lambda reading, gpu: value(gpu), unit, aliases)


def if_(has: Callable[[Gpu], object], value: Callable[[Gpu], object], unit: str = "", *aliases: str) -> Field:
    """A field of GPUs for which ``has`` is true; the others print that it is not available."""
    return of_gpu(lambda gpu: value(gpu) if has(gpu) else NOT_AVAILABLE, unit, *aliases)


def unavailable(unit: str = "", *aliases: str) -> Field:
    """A field that no GPU of the catalog has."""
    return fixed(NOT_AVAILABLE, unit, *aliases)


def since(branch: int, fields: Fields) -> dict[str, Field]:
    """The fields, known from ``branch`` on."""
    return {name: field._replace(since=branch) for name, field in fields.items()}


def deprecated(branch: int, fields: Fields) -> dict[str, Field]:
    """The fields, deprecated from ``branch`` on."""
    return {name: field._replace(deprecated=branch) for name, field in fields.items()}


def yes_no(flag: bool) -> str:
    """A switch in the words of nvidia-smi."""
    return "Yes" if flag else "No"
