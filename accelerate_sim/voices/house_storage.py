"""The house voice on what is written and read: checkpoints, and the exported model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from accelerate_sim.display.units import (
    bytes_text,
)
from accelerate_sim.records import (
    CheckpointRecord,
    DeletedRecord,
    ExportFileRecord,
    ExportingRecord,
    ExportRecord,
    LitterRecord,
    NoHolesRecord,
    RestoredRecord,
    RestoringRecord,
    RunFacts,
    SavingRecord,
    SummaryRecord,
)
from accelerate_sim.voices.voice import Line, Wording
from fake_torch_dist.terminal.descriptor import printable

SHARDS_LISTED = 40
"""Weight files that get a line each when they are written; the last one gets a line in any case."""
Lines: TypeAlias = Iterable[Line]


def _saving(record: SavingRecord, run: RunFacts) -> Lines:
    sizes = f"weights {bytes_text(record.weight_bytes)} + optimizer {bytes_text(record.optimizer_bytes)}"
    return (Line(f"Saving checkpoint {printable(record.path)} | {sizes}"),)


def _saved(record: CheckpointRecord, run: RunFacts) -> Lines:
    rate = record.bytes / record.seconds / 1e9
    path, size = printable(record.path), bytes_text(record.bytes)
    return (Line(f"Checkpoint saved: {path} | {size} | {record.seconds:.1f} s | {rate:.1f} GB/s"),)


def _deleted(record: DeletedRecord, run: RunFacts) -> Lines:
    kept = f"the last {record.keep_last}" + (f" and the best {record.keep_best}" if record.keep_best else "")
    return (Line(f"Deleted old checkpoint {printable(record.path)} (keeping {kept})"),)


def _litter(record: LitterRecord, run: RunFacts) -> Lines:
    left = f"Files of a deleted checkpoint are left in {printable(record.directory)} as .tmp-*: {record.reason}"
    text = f"{left}. They are removed at the end of the run or by --resume auto, if that is possible then"
    return (Line(text, logging.WARNING),)


def _no_holes(record: NoHolesRecord, run: RunFacts) -> Lines:
    where = f"{printable(record.directory)} is on a file system without sparse files"
    return (Line(f"{where}: tensors are written with small shapes", logging.WARNING),)


def _restoring(record: RestoringRecord, run: RunFacts) -> Lines:
    return (Line(f"Loading states from {printable(record.path)} | {bytes_text(record.bytes)}"),)


def _restored(record: RestoredRecord, run: RunFacts) -> Lines:
    return (Line(f"Resumed after step {record.step:,} in {record.seconds:.1f} s"),)


def _exporting(record: ExportingRecord, run: RunFacts) -> Lines:
    return (Line(f"Exporting {record.model} to {printable(record.path)}"),)


def _export_file(record: ExportFileRecord, run: RunFacts) -> Lines:
    if record.shard <= SHARDS_LISTED or record.shard == record.shards:
        return (Line(f"  {record.name} | {bytes_text(record.bytes)}"),)
    if record.shard == SHARDS_LISTED + 1:
        return (Line(f"  ... and {record.shards - SHARDS_LISTED - 1} more"),)
    return ()


def _export(record: ExportRecord, run: RunFacts) -> Lines:
    files = f"{record.weight_files} weight file{'s' * (record.weight_files > 1)}"
    return (Line(f"Exported {files} | {bytes_text(record.bytes)}"),)


def _summary(record: SummaryRecord, run: RunFacts) -> Lines:
    return (Line(f"Training finished successfully. Model: {printable(record.export_path)}"),)


STORAGE: Mapping[type, Wording] = {
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    DeletedRecord: _deleted,
    LitterRecord: _litter,
    NoHolesRecord: _no_holes,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    ExportingRecord: _exporting,
    ExportFileRecord: _export_file,
    ExportRecord: _export,
    SummaryRecord: _summary,
}
"""Kinds of record of checkpoints and of the export."""
