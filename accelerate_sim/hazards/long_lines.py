"""Lines that are longer than a container runtime passes in one piece, and the log as two runtimes store it.

The CRI file has containerd's form, with P for a part of a line and F for its end; the other file is docker's json-file,
whose parts lack the newline. Both cut lines at 16 KiB, and have the bytes that leave the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

from accelerate_sim.hazards.appended_file import AppendedFile
from accelerate_sim.hazards.hazard import Hazard, LoggingProcess, Passage

KIB = 1024
SIZES = (8 * KIB, 16 * KIB, 64 * KIB, 256 * KIB)
CUT = 16 * KIB
CRI_FILE, DOCKER_FILE = "log.cri{}.log", "log-json{}.log"


class LongLines(Hazard):
    """Prints arguments, an environment or a config as one long line after a line."""

    def __init__(self, name: str, share: float, process: LoggingProcess) -> None:
        super().__init__(name, share, process)
        self._cri = _opened(process, CRI_FILE)
        self._docker = _opened(process, DOCKER_FILE)
        self._partial: dict[str, bytes] = {}
        """Bytes of each stream since its last newline."""
        self._time = datetime.min

    def alter(self, passage: Passage) -> None:
        number = passage.line.number
        if self.strikes(number):
            size = SIZES[int(self.draw(number, "size") * len(SIZES))]
            kind = int(self.draw(number, "kind") * len(KINDS))
            passage.after.append((passage.stream, long_line(kind, size)))
            self.note(passage, f"a line of {size} bytes follows")

    def see(self, stream: str, data: bytes, time: datetime) -> None:
        if self._cri is None:
            return
        *rows, self._partial[stream] = (self._partial.get(stream, b"") + data).split(b"\n")
        for row in rows:
            for part, is_end in parts(row):
                self._store(stream, part, is_end, time)
        while len(self._partial[stream]) > CUT:
            part, self._partial[stream] = self._partial[stream][:CUT], self._partial[stream][CUT:]
            self._store(stream, part, False, time)
        self._time = time

    def _store(self, stream: str, part: bytes, is_end: bool, time: datetime) -> None:
        assert self._cri
        assert self._docker
        stamp = f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
        self._cri.write(b"%s %s %s %s\n" % (stamp.encode(), stream.encode(), b"F" if is_end else b"P", part))
        log = part.decode("utf-8", "replace") + ("\n" if is_end else "")
        entry = json.dumps({"log": log, "stream": stream, "time": stamp}, separators=(",", ":"))
        self._docker.write(entry.encode() + b"\n")

    def end(self) -> None:
        for stream, part in self._partial.items():
            if part:
                self._store(stream, part, False, self._time)
        for file in (self._cri, self._docker):
            if file is not None:
                file.close()
        self._cri = self._docker = None


def _opened(process: LoggingProcess, name: str) -> AppendedFile | None:
    return AppendedFile(process.directory / name.format(process.suffix)) if process.directory else None


def parts(row: bytes) -> Iterator[tuple[bytes, bool]]:
    """(part, whether it is the last) of a line, cut every 16 KiB."""
    for begin in range(0, max(len(row), 1), CUT):
        yield row[begin : begin + CUT], begin + CUT >= len(row)


KINDS = (
    ("Namespace(", "--arg-{0:05d}='value {0}', ", ")"),
    ("NCCL environment: ", "NCCL_SIMULATED_{0:05d}={0};", "end"),
    ("Running with configs: {", '"key_{0:05d}": {0}, ', '"end": true}'),
)
"""Begin, repeated part and end of each kind of long line."""


def long_line(kind: int, size: int) -> str:
    """A line of exactly ``size`` bytes, at most the largest of SIZES."""
    begin, _, end = KINDS[kind]
    return begin + _middle(kind)[: size - len(begin) - len(end)] + end


@cache
def _middle(kind: int) -> str:
    """The repeated parts of a kind, for lines of every size."""
    _, part, _ = KINDS[kind]
    rows, length, number = [], 0, 0
    while length < max(SIZES):
        rows.append(part.format(number))
        length += len(rows[-1])
        number += 1
    return "".join(rows)
