"""metrics.jsonl: one JSON object a line, whole or absent."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from accelerate_sim.records import (
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

FILE_NAME = "metrics.jsonl"
BUFFER_BYTES = 65536
WHOLE_DETAIL_GPUS = 512
WORST_LISTED = 5

_EVENTS: dict[type, str] = {
    StartRecord: "start",
    StepRecord: "step",
    GpuRecord: "gpu",
    CollectiveRecord: "nccl",
    WarningRecord: "warning",
    EvalRecord: "eval",
    CheckpointRecord: "checkpoint",
    ExportRecord: "export",
    SummaryRecord: "summary",
}
_GPU_FIGURES = ("utilization_pct", "memory_used_bytes", "temperature_c", "power_w")


class JsonlTracker:
    """Appends records to ``directory/metrics.jsonl``.

    Lines are collected while nothing waits, and written whole in one call when somebody might look.
    """

    def __init__(self, directory: Path, *, every_gpu: bool, goes_on: bool = False) -> None:
        """``every_gpu``: figures of single GPUs even above WHOLE_DETAIL_GPUS. ``goes_on``: after what is there.

        OSError if the file can't be made.
        """
        self.path = directory / FILE_NAME
        self.every_gpu = every_gpu
        self._encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode
        new = 0 if goes_on else os.O_EXCL
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | new | os.O_APPEND, 0o644)
        self._lines: list[str] = []
        self._size = 0

    def observe(self, record: Record) -> None:
        line = self._encode({"event": _EVENTS[type(record)]} | self._figures(record)) + "\n"
        self._lines.append(line)
        self._size += len(line)
        if self._size >= BUFFER_BYTES:
            self.flush()

    def _figures(self, record: Record) -> dict[str, Any]:
        match record:
            case GpuRecord():
                return self._gpu_figures(record)
            case StartRecord():
                known = ("run", "seed", "start_time", "config")
                return {"simulated": True} | {name: getattr(record, name) for name in known} | dict(record.plan)
            case ExportRecord():
                files = [{"name": name, "bytes": size} for name, size in record.files]
                return {
                    "run": record.run, "path": record.path, "files": files, "bytes": record.bytes,
                    "seconds": record.seconds,
                }  # fmt: skip
        return {name: getattr(record, name) for name in record.__slots__}

    def _gpu_figures(self, record: GpuRecord) -> dict[str, Any]:
        head: dict[str, Any] = {"run": record.run, "step": record.step, "gpus": len(record.power_w)}
        figures = {name: getattr(record, name) for name in _GPU_FIGURES}
        if self.every_gpu or len(record.power_w) <= WHOLE_DETAIL_GPUS:
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
        hottest = np.argsort(-record.temperature_c, kind="stable")[:WORST_LISTED]
        worst = [
            {"rank": int(rank)} | {name: values[rank].item() for name, values in figures.items()} for rank in hottest
        ]
        return head | spread | {"worst": worst}

    def flush(self) -> None:
        """Write what has been collected."""
        if not self._lines:
            return
        data = memoryview("".join(self._lines).encode())
        self._lines, self._size = [], 0
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        self.flush()
        os.close(self._fd)


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} has no JSON form")
