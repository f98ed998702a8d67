"""The file in which a running job publishes config, run, clock and processes.

Telemetry is a pure function of these, so another process can compute it. A file holds two lines of JSON: the position
of the clock, of fixed length so that it can be overwritten in place, and the job. No figure is computed here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.damage import Damaged, conforming, document_of
from accelerate_sim.config.problems import printable
from accelerate_sim.process.runtime_directory import check_private, control_socket, runtime_directory

POSITION_BYTES = 192
"""Length of the first line, its newline included."""
SUFFIX = ".job"
LARGEST_FILE = 10**7
"""Largest size of a file in bytes; a job takes a few thousand."""
FORMAT = 1
CONFIG = ConfigDict(extra="forbid", strict=True)


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Seconds = Annotated[float, Field(ge=-3.2e11, le=3.2e11)]
"""Seconds of a clock; the bound keeps dates below the year 9999."""
Pid = Annotated[int, Field(ge=1, le=2**31 - 1)]


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a job's simulated clock, and its speed."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG

    now_s: Seconds
    """Simulated seconds since the clock's start, at ``real_s``."""
    real_s: float
    """Real second of the system's monotonic clock, which all processes share."""
    speed: Annotated[float, Field(ge=0.0)]
    """Simulated seconds per real second; 0: the clock stands still, or never waits."""
    until_s: Seconds
    """The simulated second at which the clock stops, because the job has not reported anything later."""

    def at(self, real_s: float) -> float:
        """The simulated second at the real second ``real_s``."""
        return max(self.now_s, min(self.until_s, self.now_s + (real_s - self.real_s) * self.speed))

    def line(self) -> bytes:
        text = json.dumps(asdict(self), separators=(",", ":"), allow_nan=False)
        return text.encode().ljust(POSITION_BYTES - 1) + b"\n"


@dataclass(frozen=True, slots=True)
class PublishedJob:
    """A job as it is stored in its file."""

    __pydantic_config__: ClassVar[ConfigDict] = CONFIG

    run: Annotated[int, Field(ge=1, le=10**9)]
    seed: int
    config: Mapping[str, Any]
    """The resolved config."""
    origin_s: Seconds
    """Second of the simulated clock at which the run began."""
    start: Annotated[str, AfterValidator(_moment)]
    """Start of the simulated clock, in ISO 8601."""
    pids: Annotated[tuple[Pid, ...], Field(min_length=1)]
    """Process ids of all ranks, or that of the one process that runs them all. The first process owns the file."""
    process_start: int | None
    """Start of the first process in clock ticks since boot; None if the system does not report it."""
    command: Annotated[str, AfterValidator(printable)]
    """The command name of the processes."""
    attempt: Annotated[int, Field(ge=0, le=10**6)] | None = None
    """Number of the attempt, from 0; None in a run in which no fault happens."""
    generic_names: bool = False
    """True if the screen shows generic names in the place of those of products."""
    simulated: bool = True
    format: int = FORMAT

    @property
    def pid(self) -> int:
        return self.pids[0]

    def pid_of(self, rank: int) -> int:
        return self.pids[rank] if rank < len(self.pids) else self.pid

    def config_text(self) -> str:
        """The config as JSON."""
        return json.dumps(self.config)

    def line(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def path_of(directory: Path, pid: int) -> Path:
    """The file of the job whose first process is ``pid``."""
    return directory / f"{pid}{SUFFIX}"


def process_start(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process (proc_pid_stat(5), field 22); None if unknown, or ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # the command name may contain anything
    return None if state in "ZX" else int(fields[18])


def is_running(job: PublishedJob) -> bool:
    """True if the first process still exists, and is the one that published the job."""
    if job.process_start is not None:
        return process_start(job.pid) == job.process_start
    try:
        os.kill(job.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def running_jobs(damaged: list[str] | None = None) -> list[tuple[PublishedJob, Position]]:
    """The user's jobs, the newest first. Files of ended jobs are removed. Raises UnsafeDirectory.

    ``damaged`` is called with a sentence about each file that holds no job.
    """
    directory = runtime_directory()
    try:
        check_private(directory)
    except FileNotFoundError:
        return []
    found = []
    for path in directory.glob(f"*{SUFFIX}"):
        try:
            read = read_job(path)
        except FileNotFoundError:  # the job has just ended
            continue
        except Damaged as damage:
            if damaged is not None:
                damaged.append(f"{printable(str(path))} is damaged: it {damage}")
            continue
        if is_running(read[0]):
            found.append(read)
        else:
            for left in (path, control_socket(directory, read[0].pid)):
                with suppress(OSError):
                    left.unlink()
    # The position is written all the time, so the age of the file does not give the order.
    return sorted(found, key=lambda entry: (entry[0].process_start or 0, entry[0].pid), reverse=True)


def read_job(path: Path) -> tuple[PublishedJob, Position]:
    """Read the file of a job. Raises FileNotFoundError; Damaged if it holds no job."""
    try:
        fd = plain_file.open_to_read(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"can't be read: {error.strerror}") from None
    try:
        job = os.pread(fd, LARGEST_FILE, POSITION_BYTES)
        line = os.pread(fd, POSITION_BYTES, 0)
        while (again := os.pread(fd, POSITION_BYTES, 0)) != line:  # the line was being overwritten
            line = again
    except OSError as error:
        raise Damaged(f"can't be read: {error.strerror}") from None
    finally:
        os.close(fd)
    document = document_of(job, "second line")
    if document.get("format") != FORMAT:
        raise Damaged("is of another version of this program, or of another program")
    position = conforming(_position_reader(), document_of(line, "first line"), "first line")
    return conforming(_job_reader(), document, "second line"), position


@cache
def _job_reader() -> TypeAdapter[PublishedJob]:
    return TypeAdapter(PublishedJob)


@cache
def _position_reader() -> TypeAdapter[Position]:
    return TypeAdapter(Position)
