"""``--query-gpu`` and ``--query-compute-apps``: properties as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelerate_sim.monitoring.nvidia_smi.properties import (
    APP_ALIASES,
    APP_PROPERTIES,
    GPU_ALIASES,
    GPU_PROPERTIES,
    NOT_AVAILABLE,
    Property,
)
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading


class UnknownField(Exception):
    """Raised for an unknown property, with nvidia-smi's text."""

    def __init__(self, field: str) -> None:
        super().__init__(f'Field "{field}" is not a valid field to query.\n')


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """The format of the CSV, from ``--format``."""

    header: bool = True
    units: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """Properties of GPUs, or of the processes on them, under the names of the header."""

    names: tuple[str, ...]
    properties: Mapping[str, Property]

    @classmethod
    def of_gpus(cls, fields: str) -> Query:
        """The properties of GPUs with these names. Raises UnknownField."""
        return cls(_names(fields, GPU_PROPERTIES, GPU_ALIASES), GPU_PROPERTIES)

    @classmethod
    def of_apps(cls, fields: str) -> Query:
        """The properties of processes with these names. Raises UnknownField."""
        return cls(_names(fields, APP_PROPERTIES, APP_ALIASES), APP_PROPERTIES)

    def header(self) -> str:
        units = (f" [{unit}]" if (unit := self.properties[name].unit) else "" for name in self.names)
        return ", ".join(map("".join, zip(self.names, units, strict=True))) + "\n"

    def rows(self, reading: Reading, csv_format: CsvFormat) -> str:
        """The lines of CSV: one for each GPU, or for each process."""
        chosen = [self.properties[name] for name in self.names]
        gpus = (gpu for gpu in reading.gpus if gpu.has_process or self.properties is GPU_PROPERTIES)
        cells = ([_cell(each, reading, gpu, csv_format.units) for each in chosen] for gpu in gpus)
        return "".join(", ".join(row) + "\n" for row in cells)


def _cell(chosen: Property, reading: Reading, gpu: Gpu, units: bool) -> str:
    value = chosen.value(reading, gpu)
    has_unit = units and chosen.unit and value != NOT_AVAILABLE
    return f"{value} {chosen.unit}" if has_unit else str(value)


def _names(fields: str, known: Mapping[str, Property], aliases: Mapping[str, str]) -> tuple[str, ...]:
    names = []
    for field in (each.strip() for each in fields.split(",")):
        name = aliases.get(field, field)
        if name not in known:
            raise UnknownField(field)
        names.append(name)
    return tuple(names)


def field_names() -> Sequence[str]:
    """The text of ``--help-query-gpu``."""
    others: dict[str, list[str]] = {}
    for alias, name in GPU_ALIASES.items():
        others.setdefault(name, []).append(alias)
    return [" or ".join(f'"{each}"' for each in (name, *others.get(name, ()))) for name in GPU_PROPERTIES]
