"""Makes the object that metrics.jsonl has for a record. Kinds of record that have no event name are left out."""

from __future__ import annotations

import math
from dataclasses import fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

WHOLE_DETAIL_GPUS = 512
WORST_LISTED = 5

_EVENTS: dict[type, str] = {
    StartRecord: "start",
    AttemptRecord: "attempt",
    StepRecord: "step",
    GpuRecord: "gpu",
    CollectiveRecord: "nccl",
    WarningRecord: "warning",
    EvalRecord: "eval",
    CheckpointRecord: "checkpoint",
    ExportRecord: "export",
    SummaryRecord: "summary",
}
_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in _EVENTS}
_OF_FAULTS = ("attempts", "lost_steps", "goodput")
"""Fields of a summary that only a run with faults has."""
STEP_FIELDS = _FIELDS[StepRecord]
step_values = attrgetter(*STEP_FIELDS)
NOT_ALWAYS = ("load_balancing_loss", "loss_scale", "skipped")
"""The last fields of a step, which a line has only where there is a value."""
_GPU_FIGURES = ("utilization_pct", "memory_used_bytes", "temperature_c", "power_w", "sm_clock_mhz")


def json_event(record: Record, *, attempt: int | None = None, every_gpu: bool = False) -> dict[str, Any] | None:
    """The object that metrics.jsonl has for a record; None for a kind of record that it does not have.

    ``attempt`` is the number of the attempt in a run with faults. With ``every_gpu`` the object has the figures of
    single GPUs even above WHOLE_DETAIL_GPUS.
    """
    event = _EVENTS.get(type(record))
    if event is None:
        return None
    head: dict[str, Any] = {"event": event} if attempt is None else {"event": event, "attempt": attempt}
    return head | _figures(record, every_gpu)


def are_finite(step: StepRecord) -> bool:
    """True if JSON has a number for each figure of a step."""
    return math.isfinite(step.loss) and math.isfinite(step.perplexity) and math.isfinite(step.grad_norm)


def _figures(record: Record, every_gpu: bool) -> dict[str, Any]:
    match record:
        case StepRecord():
            figures = dict(zip(STEP_FIELDS, step_values(record), strict=True))
            figures["time"] = record.time.isoformat(timespec="milliseconds")
            for name in NOT_ALWAYS:
                if figures[name] is None:
                    del figures[name]
            for name in ("loss", "perplexity", "grad_norm"):
                if not math.isfinite(figures[name]):
                    figures[name] = None  # JSON has no number for it
            return figures
        case GpuRecord():
            return _gpu_figures(record, every_gpu)
        case StartRecord():
            known = ("run", "seed", "start_time", "config")
            return {"simulated": True} | {name: getattr(record, name) for name in known} | dict(record.plan)
        case ExportRecord():
            files = [{"name": name, "bytes": size} for name, size in record.files]
            return {
                "run": record.run, "path": record.path, "files": files, "bytes": record.bytes,
                "seconds": record.seconds,
            }  # fmt: skip
        case SummaryRecord() if record.attempts is not None:
            found = {name: getattr(record, name) for name in _FIELDS[SummaryRecord]}
            return {name: None if value != value else value for name, value in found.items()}
        case SummaryRecord():
            return {name: getattr(record, name) for name in _FIELDS[SummaryRecord] if name not in _OF_FAULTS}
    return {name: getattr(record, name) for name in _FIELDS[type(record)]}


def _gpu_figures(record: GpuRecord, every_gpu: bool) -> dict[str, Any]:
    head: dict[str, Any] = {
        "run": record.run, "step": record.step, "phase": record.phase, "elapsed_s": record.elapsed_s,
        "gpus": len(record.power_w),
    }  # fmt: skip
    figures = {name: getattr(record, name) for name in _GPU_FIGURES}
    if every_gpu or len(record.power_w) <= WHOLE_DETAIL_GPUS:
        return head | {name: values.tolist() for name, values in figures.items()}
    spread = {
        name: dict(
            zip(
                ("min", "p25", "p50", "p75", "max"),
                np.percentile(values, (0, 25, 50, 75, 100)).tolist(),
                strict=True,
            )
        )
        for name, values in figures.items()
    }
    hottest = places_of_highest(record.temperature_c, WORST_LISTED)
    worst = [{"rank": int(rank)} | {name: values[rank].item() for name, values in figures.items()} for rank in hottest]
    return head | spread | {"worst": worst}


def places_of_highest(values: NDArray[Any], number: int) -> NDArray[Any]:
    """Places of the highest values, the highest first; of equal ones the first comes first."""
    least = np.partition(values, -number)[-number]
    places = np.flatnonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")[:number]]
