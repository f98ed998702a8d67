"""Writes metrics.jsonl, with one JSON object a line. A line without its newline does not count.

Lines are written whole. But Linux checks for a fatal signal between the pages of one write, so SIGKILL may cut off the
last line. A run that is resumed removes such a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.atomic import explained
from accelerate_sim.artifacts.output_error import OutputError
from accelerate_sim.records import Record, StepRecord
from accelerate_sim.records.timestamps import rfc3339
from accelerate_sim.tracking.json_events import NOT_ALWAYS, STEP_FIELDS, are_finite, json_event, step_values
from fake_torch_dist.terminal.descriptor import write_all

FILE_NAME = "metrics.jsonl"
BUFFER_BYTES = 65536

_TIME = STEP_FIELDS.index("time")
_STEP_TEMPLATE = ",".join(
    f'"{name}":' + ('"%s"' if name == "time" else "%s") for name in STEP_FIELDS[: -len(NOT_ALWAYS)]
)
"""The fields that every step has; numbers have the same form in ``str`` and in JSON."""


class JsonlTracker:
    """Appends records to ``directory/metrics.jsonl``.

    Lines are collected and written whole, in one call, when the run waits or the buffer is full.
    """

    def __init__(
        self,
        directory: Path,
        now: Callable[[], datetime],
        *,
        every_gpu: bool,
        strings: bool = False,
        keep: tuple[int, int] | None = None,
    ) -> None:
        """Create the file, or truncate an existing one to ``keep`` and append to it.

        ``now`` is the simulated time, which is each line's ``timestamp``. With ``strings`` numbers are written as
        strings, as Katib's collector wants them. ``keep`` is the length in bytes and the CRC-32 of the part that stays,
        which the caller has checked. With ``every_gpu`` figures of single GPUs are written even above
        WHOLE_DETAIL_GPUS. OSError if the file cannot be created or opened.
        """
        self.path = directory / FILE_NAME
        self.every_gpu = every_gpu
        self._attempt: int | None = None
        self._now, self._strings = now, strings
        self._encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode
        self.size_bytes, self.crc32 = keep or (0, 0)
        """Length in bytes and CRC-32 of the file once everything observed is written."""
        self._fd = plain_file.create(self.path) if keep is None else plain_file.open_to_append(self.path)
        if keep is not None:
            os.truncate(self._fd, self.size_bytes)
        self._lines: list[bytes] = []
        self._unwritten_bytes = 0

    def begin_attempt(self, number: int | None) -> None:
        """Give each line the number of an attempt from now on, from 0, as in a run with faults; None: none."""
        self._attempt = number

    def observe(self, record: Record) -> None:
        text = self._step_line(record) if type(record) is StepRecord else self._line(record)
        if text is None:
            return
        line = text.encode()
        self._lines.append(line)
        self.size_bytes += len(line)
        self.crc32 = crc32(line, self.crc32)
        self._unwritten_bytes += len(line)
        if self._unwritten_bytes >= BUFFER_BYTES:
            self.flush()

    def _line(self, record: Record) -> str | None:
        event = json_event(record, attempt=self._attempt, every_gpu=self.every_gpu)
        if event is None:
            return None
        figures = {"event": event.pop("event"), "timestamp": rfc3339(self._now())} | event
        if self._strings:
            figures = {name: _as_string(value) for name, value in figures.items()}
        return self._encode(figures) + "\n"

    def _step_line(self, record: StepRecord) -> str | None:
        """``_line`` of a step. An ordinary step, of which a run has many, is filled into a template."""
        *numbers, experts, scale, skipped = step_values(record)
        if self._strings or scale is not None or skipped is not None or not are_finite(record):
            return self._line(record)
        numbers[_TIME] = record.time.isoformat(timespec="milliseconds")
        attempt = "" if self._attempt is None else f'"attempt":{self._attempt},'
        last = "" if experts is None else f',"load_balancing_loss":{experts}'
        head = f'{{"event":"step","timestamp":"{rfc3339(self._now())}",{attempt}'
        return f"{head}{_STEP_TEMPLATE % (*numbers,)}{last}}}\n"

    def flush(self) -> None:
        """Write the collected lines. Raises OutputError, and then removes a line that was written in part."""
        if not self._lines:
            return
        data = b"".join(self._lines)
        begin = self.size_bytes - len(data)
        self._lines, self._unwritten_bytes = [], 0
        try:
            write_all(self._fd, data)
        except OSError as error:
            with suppress(OSError):
                written = os.fstat(self._fd).st_size - begin
                os.truncate(self._fd, begin + data.rfind(b"\n", 0, max(written, 0)) + 1)
            raise OutputError(
                f"{self.path} could not be written: {error.strerror}. What it holds is whole; put things right and go "
                "on with --resume auto."
            ) from None

    def sync(self) -> None:
        """Write everything observed so far and sync the file. Raises OutputError."""
        self.flush()
        with explained(self.path, "What it holds is whole."):
            os.fsync(self._fd)

    def close(self) -> None:
        """Write the rest and close the file; a second call does nothing. Raises OutputError."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1


def _as_string(value: object) -> object:
    """A number as a string; everything else as it is."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} has no JSON form")
