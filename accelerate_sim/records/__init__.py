"""All kinds of record that a run reports: the vocabulary shared by the code that computes, shows and stores figures.

Figures are rounded when a record is made, once, so that the screen, the log and the metrics file cannot disagree. Steps
and epochs count from 1. Seconds, bytes and watts are SI; shares are 0..1. ``time`` is the simulated clock's and has its
zone, if the start time named one. A voice (``accelerate_sim.voices``) words records, a tracker
(``accelerate_sim.tracking``) keeps them; both leave out kinds that mean nothing to them.
"""

from __future__ import annotations

from typing import TypeAlias

from accelerate_sim.records.devices import DeviceIdentity, DeviceRecord, Floats, GpuRecord
from accelerate_sim.records.setup import (
    BatchRecord,
    CheckpointingRecord,
    ConnectRecord,
    DataRecord,
    DetectRecord,
    EarlyEndRecord,
    ExporterRecord,
    LaunchRecord,
    LinkTestRecord,
    ModelLoadedRecord,
    ModelRecord,
    OwnStateRecord,
    ProcessRecord,
    RampRecord,
    ResumeRecord,
    RunFacts,
    TightMemoryRecord,
    TokenizerRecord,
    UnknownLengthRecord,
)
from accelerate_sim.records.storage import (
    DeletedRecord,
    ExportFileRecord,
    ExportingRecord,
    LitterRecord,
    NoHolesRecord,
    RestoredRecord,
    RestoringRecord,
    SavingRecord,
)
from accelerate_sim.records.training import (
    AttemptRecord,
    CheckpointRecord,
    CollectiveRecord,
    EvalRecord,
    ExportRecord,
    RankStepRecord,
    StartRecord,
    StepRecord,
    SummaryRecord,
    WarningRecord,
)

Record: TypeAlias = (
    StartRecord
    | AttemptRecord
    | StepRecord
    | RankStepRecord
    | CollectiveRecord
    | WarningRecord
    | EvalRecord
    | CheckpointRecord
    | ExportRecord
    | SummaryRecord
    | GpuRecord
    | LaunchRecord
    | ResumeRecord
    | EarlyEndRecord
    | TightMemoryRecord
    | ProcessRecord
    | ExporterRecord
    | ModelRecord
    | ModelLoadedRecord
    | TokenizerRecord
    | DataRecord
    | BatchRecord
    | ConnectRecord
    | LinkTestRecord
    | CheckpointingRecord
    | DetectRecord
    | SavingRecord
    | DeletedRecord
    | LitterRecord
    | NoHolesRecord
    | RestoringRecord
    | RestoredRecord
    | ExportingRecord
    | ExportFileRecord
    | OwnStateRecord
    | UnknownLengthRecord
)
"""Anything that an observer may be given."""

__all__ = [
    "AttemptRecord",
    "BatchRecord",
    "CheckpointRecord",
    "CheckpointingRecord",
    "CollectiveRecord",
    "ConnectRecord",
    "DataRecord",
    "DeletedRecord",
    "DetectRecord",
    "DeviceIdentity",
    "DeviceRecord",
    "EarlyEndRecord",
    "EvalRecord",
    "ExportFileRecord",
    "ExportRecord",
    "ExporterRecord",
    "ExportingRecord",
    "Floats",
    "GpuRecord",
    "LaunchRecord",
    "LinkTestRecord",
    "LitterRecord",
    "ModelLoadedRecord",
    "ModelRecord",
    "NoHolesRecord",
    "OwnStateRecord",
    "ProcessRecord",
    "RampRecord",
    "RankStepRecord",
    "Record",
    "RestoredRecord",
    "RestoringRecord",
    "ResumeRecord",
    "RunFacts",
    "SavingRecord",
    "StartRecord",
    "StepRecord",
    "SummaryRecord",
    "TightMemoryRecord",
    "TokenizerRecord",
    "UnknownLengthRecord",
    "WarningRecord",
]
