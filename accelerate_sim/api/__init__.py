"""Plans, runs and telemetry as Python objects, for tests, notebooks and tools. Nothing is printed or written.

``plan`` says what a config takes, ``play`` iterates the records of a run, ``telemetry`` reads its GPUs at any second.
"""

from accelerate_sim.api.data_frames import to_frame
from accelerate_sim.api.plan import PlanReport, plan
from accelerate_sim.api.play import play
from accelerate_sim.api.records import FaultRecord, TextRecord
from accelerate_sim.api.telemetry import GpuReading, Telemetry, telemetry
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.records import (
    AttemptRecord,
    CheckpointRecord,
    CollectiveRecord,
    EvalRecord,
    ExportRecord,
    GpuRecord,
    Record,
    StartRecord,
    StepRecord,
    SummaryRecord,
    WarningRecord,
)

__all__ = [
    "AttemptRecord",
    "CheckpointRecord",
    "CollectiveRecord",
    "ConfigError",
    "EvalRecord",
    "ExportRecord",
    "FaultRecord",
    "GpuReading",
    "GpuRecord",
    "PlanReport",
    "Record",
    "StartRecord",
    "StepRecord",
    "SummaryRecord",
    "Telemetry",
    "TextRecord",
    "WarningRecord",
    "plan",
    "play",
    "telemetry",
    "to_frame",
]
