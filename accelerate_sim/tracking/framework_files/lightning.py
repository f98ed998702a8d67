"""lightning_logs/version_0 of Lightning's CSVLogger: metrics.csv, rows of different kinds, and hparams.yaml.

Columns are sorted by name. As in Lightning, the header is written anew when a validation brings its first column. The
form of the CSV has no room for a note; hparams.yaml has ``simulated: true``.
"""

from __future__ import annotations

from pathlib import Path

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.atomic import explained, make_directory, write_file
from accelerate_sim.records import EvalRecord, Record, StepRecord
from accelerate_sim.tracking.tracker import RunStart, TrackerContext

FOLDER = "lightning_logs/version_0"
Row = dict[str, str]


class CsvLogger:
    """Keeps the rows of a run and writes them when the outputs are synced or closed, as the logger does on save."""

    @classmethod
    def open(cls, context: TrackerContext) -> CsvLogger:
        """The tracker of a session."""
        return cls(context.directory)

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.folder = directory / FOLDER
        self._rows: list[Row] = []
        self._every = 1
        self._is_dirty = False

    def begin(self, start: RunStart) -> None:
        """Write hparams.yaml; a resumed run keeps the rows of the steps that were made. Raises OutputError."""
        import yaml

        self._every = int(start.config["log"]["every"])
        path = self.folder / "metrics.csv"
        with explained(path):
            make_directory(self.folder, self.directory)
            write_file(self.folder / "hparams.yaml", yaml.safe_dump({**start.config, "simulated": True}).encode())
            self._rows = _read(path, start.step) if start.step else []
        self._is_dirty = True

    def observe(self, record: Record) -> None:
        if isinstance(record, StepRecord) and record.step % self._every == 0:
            self._add(record.epoch, record.step, train_loss=record.loss)
        elif isinstance(record, EvalRecord):
            self._add(record.epoch, record.step, val_loss=record.loss)

    def _add(self, epoch: int, step: int, **figures: float) -> None:
        self._rows.append(
            {"epoch": str(epoch - 1), "step": str(step - 1), **{name: str(value) for name, value in figures.items()}}
        )
        self._is_dirty = True

    def flush(self) -> None:
        """Nothing: the logger writes when it saves."""

    def sync(self) -> None:
        """Write all rows below one header. Raises OutputError."""
        if not self._is_dirty:
            return
        self._is_dirty = False
        columns = sorted({name for row in self._rows for name in row})
        lines = [",".join(columns), *(",".join(row.get(name, "") for name in columns) for row in self._rows)]
        with explained(self.folder / "metrics.csv"):
            write_file(self.folder / "metrics.csv", "".join(f"{line}\n" for line in lines if line).encode())

    def close(self) -> None:
        self.sync()


def _read(path: Path, step: int) -> list[Row]:
    """The rows of a file that are about none of the steps after ``step``."""
    try:
        header, *rows = plain_file.read(path).decode().splitlines()
    except (FileNotFoundError, ValueError):
        return []
    columns = header.split(",")
    found = [dict(zip(columns, row.split(","), strict=False)) for row in rows]
    kept = [row for row in found if row.get("step", "").isdecimal() and int(row["step"]) < step]
    return [{name: value for name, value in row.items() if value} for row in kept]
