"""metrics.jsonl: one JSON object a line, whole or absent."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from accelerate_sim.artifacts.atomic import explained
from accelerate_sim.artifacts.output_error import OutputError
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
MOST_BYTES_OF_LINE = 2**24
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
_GPU_FIGURES = ("utilization_pct", "memory_used_bytes", "temperature_c", "power_w", "sm_clock_mhz")


class JsonlTracker:
    """Appends records to ``directory/metrics.jsonl``.

    Lines are collected while nothing waits, and written whole in one call when somebody might look.
    """

    def __init__(self, directory: Path, *, every_gpu: bool, keep_bytes: int | None = None) -> None:
        """Make the file, or cut one that is there to its first ``keep_bytes`` and go on with it.

        ``every_gpu``: figures of single GPUs even above WHOLE_DETAIL_GPUS. OSError if the file can't be made, or is
        shorter than what is to be kept.
        """
        self.path = directory / FILE_NAME
        self.every_gpu = every_gpu
        self._encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode
        create = os.O_EXCL if keep_bytes is None else os.O_NOFOLLOW
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | create, 0o644)
        self._written_bytes = keep_bytes or 0
        if keep_bytes is not None:
            self._cut(keep_bytes)
        self._lines: list[str] = []
        self._size = 0

    def _cut(self, size_bytes: int) -> None:
        found = os.fstat(self._fd).st_size
        if found < size_bytes:
            os.close(self._fd)
            raise OSError(errno.ENODATA, f"has {found:,} bytes where the checkpoint counts {size_bytes:,}")
        os.truncate(self._fd, size_bytes)

    @property
    def size_bytes(self) -> int:
        """Length of the file when everything is written that has been observed."""
        return self._written_bytes + self._size

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
        head: dict[str, Any] = {
            "run": record.run, "step": record.step, "phase": record.phase, "elapsed_s": record.elapsed_s,
            "gpus": len(record.power_w),
        }  # fmt: skip
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
        """Write what has been collected; raises OutputError, and then no line is there in part."""
        if not self._lines:
            return
        data = memoryview("".join(self._lines).encode())
        self._lines, self._size = [], 0
        try:
            while data:
                written = os.write(self._fd, data)
                data = data[written:]
                self._written_bytes += written
        except OSError as error:
            self._drop_torn_line()
            raise OutputError(
                f"{self.path} could not be written: {error.strerror}. What it holds is whole; put things right and go "
                "on from the last checkpoint with --resume auto."
            ) from None

    def _drop_torn_line(self) -> None:
        """A write that failed half-way ends in the middle of a line."""
        with suppress(OSError), open(self.path, "rb") as file:
            begin = max(self._written_bytes - MOST_BYTES_OF_LINE, 0)
            file.seek(begin)
            os.truncate(self._fd, begin + file.read(MOST_BYTES_OF_LINE).rfind(b"\n") + 1)

    def sync(self) -> None:
        """Everything observed so far is on the disk to stay. Raises OutputError."""
        self.flush()
        with explained(self.path, "What it holds is whole."):
            os.fsync(self._fd)

    def close(self) -> None:
        """Write the rest; a second time, nothing. Raises OutputError."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} has no JSON form")
