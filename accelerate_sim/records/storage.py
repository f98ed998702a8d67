"""Records of what is written and read around checkpoints: saving, deleting, restoring, exporting.

They are named tuples, and names are as the user wrote them, as in ``accelerate_sim.records.setup``.
"""

from __future__ import annotations

from typing import NamedTuple

# --- Checkpoints ------------------------------------------------------------------------------------


class SavingRecord(NamedTuple):
    """A checkpoint is about to be written."""

    step: int
    path: str
    weight_bytes: int
    optimizer_bytes: int


class DeletedRecord(NamedTuple):
    """A checkpoint that is not kept any longer has been deleted."""

    path: str
    keep_last: int
    keep_best: int


class LitterRecord(NamedTuple):
    """Files of a deleted checkpoint could not be removed."""

    directory: str
    reason: str
    """Text of the system's error."""


class NoHolesRecord(NamedTuple):
    """The file system stores no sparse files, so tensors are written with small shapes."""

    directory: str


class RestoringRecord(NamedTuple):
    """A checkpoint is about to be read."""

    path: str
    bytes: int


class RestoredRecord(NamedTuple):
    """A checkpoint has been read; the run continues after its step."""

    step: int
    seconds: float


# --- Export -----------------------------------------------------------------------------------------


class ExportingRecord(NamedTuple):
    """The export of the finished model begins."""

    model: str
    path: str


class ExportFileRecord(NamedTuple):
    """A file of the exported model is written."""

    name: str
    bytes: int
    shard: int
    """Number of the weight file, from 1; 0 for a file that holds no weights."""
    shards: int
    """Weight files in all."""
