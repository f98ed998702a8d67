"""``--query-gpu`` and its siblings: fields as CSV."""

from __future__ import annotations

from typing import NamedTuple

from accelerate_sim.monitoring.nvidia_smi.fields.field import Field
from accelerate_sim.monitoring.nvidia_smi.fields.row_fields import TABLES, RowTable
from accelerate_sim.monitoring.nvidia_smi.options import CsvFormat, InvalidArguments
from accelerate_sim.monitoring.nvidia_smi.reading import Reading


class Query(NamedTuple):
    """Fields of a table, under the names of the header."""

    table: RowTable
    fields: dict[str, Field]

    @classmethod
    def of(cls, kind: str, names: str, branch: int) -> Query:
        """The fields of the option ``--query-...`` with these names. Raises InvalidArguments."""
        table, known = TABLES[kind], known_fields(kind, branch)
        aliases = {alias: name for name, field in known.items() for alias in field.aliases}
        found: dict[str, Field] = {}
        for asked in (each.strip() for each in names.split(",")):
            name = asked if asked in known else aliases.get(asked)
            if name is None:
                raise InvalidArguments(f'Field "{asked}" is not a valid field to query.\n\n')
            found[f"{len(found)} {name}"] = known[name]  # a field may be asked for twice
        return cls(table, found)

    def header(self) -> str:
        names = (
            key.partition(" ")[2] + (f" [{field.unit}]" if field.unit else "") for key, field in self.fields.items()
        )
        return ", ".join(names) + "\n"

    def rows(self, reading: Reading, csv_format: CsvFormat) -> str:
        """The lines of CSV."""
        lines = []
        for gpu in reading.gpus:
            for cause in self.table.rows_of(gpu):
                cells = (
                    cause if cause and key.endswith(".cause") else field.cell(reading, gpu, csv_format.units)
                    for key, field in self.fields.items()
                )
                lines.append(", ".join(cells) + "\n")
        return "".join(lines)


def known_fields(kind: str, branch: int) -> dict[str, Field]:
    """The fields of a table that the drivers of ``branch`` have, in their order."""
    return {name: field for name, field in TABLES[kind].fields.items() if field.since <= branch <= field.until}
