"""Lines that are longer than a container runtime passes in one piece, and the log as two runtimes store it.

The CRI file has containerd's form, with P for a part of a line and F for its end; the other file is docker's json-file,
whose parts lack the newline. Both cut lines at 16 KiB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC

from accelerate_sim.hazards.appended_file import AppendedFile
from accelerate_sim.hazards.hazard import Hazard, Job, Passage, Piece

KIB = 1024
SIZES = (8 * KIB, 16 * KIB, 64 * KIB, 256 * KIB)
CUT = 16 * KIB
CRI_FILE, DOCKER_FILE = "log.cri{}.log", "log-json{}.log"


class LongLines(Hazard):
    """Prints arguments, an environment or a config as one long line after a line."""

    def __init__(self, name: str, share: float, job: Job) -> None:
        super().__init__(name, share, job)
        self._cri = _opened(job, CRI_FILE)
        self._docker = _opened(job, DOCKER_FILE)

    def alter(self, passage: Passage) -> None:
        number = passage.line.number
        if self.strikes(number):
            size = SIZES[int(self.draw(number, "size") * len(SIZES))]
            kind = int(self.draw(number, "kind") * len(KINDS))
            passage.after.append((passage.stream, long_line(kind, size)))
            self.note(passage, f"a line of {size} bytes follows")

    def pass_bytes(self, passage: Passage | None, pieces: list[Piece]) -> list[Piece]:
        if passage is None or self._cri is None or self._docker is None:
            return pieces
        time = passage.line.time.astimezone(UTC)
        stamp = f"{time:%Y-%m-%dT%H:%M:%S.%f}000Z"
        for stream, data in pieces:
            for row in data.splitlines(keepends=True):
                for part, is_end in parts(row.rstrip(b"\n")):
                    tag = b"F" if is_end else b"P"
                    self._cri.write(b"%s %s %s %s\n" % (stamp.encode(), stream.encode(), tag, part))
                    log = part.decode("utf-8", "replace") + ("\n" if is_end else "")
                    entry = json.dumps({"log": log, "stream": stream, "time": stamp}, separators=(",", ":"))
                    self._docker.write(entry.encode() + b"\n")
        return pieces

    def close(self) -> Sequence[Piece]:
        for file in (self._cri, self._docker):
            if file is not None:
                file.close()
        self._cri = self._docker = None
        return ()


def _opened(job: Job, name: str) -> AppendedFile | None:
    return AppendedFile(job.directory / name.format(job.suffix)) if job.directory else None


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
    """A line of exactly ``size`` bytes."""
    begin, part, end = KINDS[kind]
    room = size - len(begin) - len(end)
    rows, length, number = [], 0, 0
    while length < room:
        rows.append(part.format(number))
        length += len(rows[-1])
        number += 1
    return begin + "".join(rows)[:room] + end
