"""The file that a job publishes, and its reading by another process."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from accelerate_sim.monitoring.published_job import (
    POSITION_BYTES,
    Position,
    PublishedJob,
    path_of,
    process_start,
    running_jobs,
)
from accelerate_sim.monitoring.publisher import SHORTEST_S, Publisher
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.tracking.tracker import RunStart

START = RunStart(3, "gpt2", 44, 0, datetime(2026, 1, 1), {"model": "gpt2"})


class Real:
    """Real seconds that the test turns."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Stage:
    """A clock, its publisher, and what a viewer reads."""

    def __init__(self, speed: float) -> None:
        self.real = Real()
        self.clock = Clock(datetime(2026, 1, 1), speed, wait=self._wait, monotonic=self.real.read)
        self.signals = Signals(monotonic=self.real.read)
        self.publisher = Publisher(self.clock, self.signals, monotonic=self.real.read)
        self.seen: list[float] = []
        self.looks: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
        """At which parts of a wait the viewer looks."""

    def _wait(self, seconds: float) -> None:
        begin_s = self.real.now_s
        for part in self.looks:
            self.real.now_s = begin_s + part * seconds
            self.seen.append(self.look())

    def look(self) -> float:
        [(_, position)] = running_jobs()
        return position.at(self.real.now_s)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "fake-torchrun"


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(speed=10.0)
    stage.publisher.begin(START)
    yield stage
    stage.publisher.close()


def test_a_job_says_what_another_process_needs(stage: Stage, directory: Path):
    [(job, _)] = running_jobs()
    assert (job.run, job.seed, job.config, job.origin_s) == (3, 44, {"model": "gpt2"}, 0.0)
    assert (job.pids, job.start, job.simulated) == ((os.getpid(),), "2026-01-01T00:00:00", True)
    [file] = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_stays_when_it_is_over(stage: Stage, directory: Path):
    stage.publisher.close()
    assert list(directory.iterdir()) == []
    stage.looks = ()
    stage.clock.advance_to(5.0)
    assert list(directory.iterdir()) == []


def test_nothing_is_published_before_a_run_begins(directory: Path):
    stage = Stage(speed=math.inf)
    stage.looks = ()
    stage.clock.advance_to(5.0)
    assert running_jobs() == [] and list(directory.iterdir()) == []


def test_between_two_events_the_viewer_sees_the_clock_go_on(stage: Stage):
    stage.clock.advance(40.0)
    assert stage.seen == [0.0, 10.0, 20.0, 40.0]


def test_the_viewer_follows_another_speed(stage: Stage):
    stage.clock.advance(40.0)
    stage.clock.set_speed(250.0)
    stage.seen.clear()
    stage.clock.advance(1000.0)
    assert stage.seen == [40.0, 290.0, 540.0, 1040.0]


def test_what_has_not_been_played_yet_is_not_seen(stage: Stage):
    """A process that is stopped without notice, or waits for its reader, gets no further than its next event."""
    stage.clock.advance(40.0)
    stage.real.now_s += 3600.0
    assert stage.look() == 40.0


def test_a_paused_job_stands_still_and_then_goes_on(stage: Stage):
    def pause_in_the_middle(seconds: float) -> None:
        stage.real.now_s += seconds / 2
        stage.signals.listeners.tell_pause()
        for _ in range(3):
            stage.real.now_s += 100.0
            stage.seen.append(stage.look())
        stage.signals.listeners.tell_redraw()
        stage.real.now_s += seconds / 2
        stage.seen.append(stage.look())

    stage.clock._wait = pause_in_the_middle
    stage.clock.advance(40.0)
    assert stage.seen == [20.0, 20.0, 20.0, 40.0]


def test_a_resize_is_no_pause(stage: Stage):
    stage.clock.advance(40.0)
    before = running_jobs()
    stage.signals.listeners.tell_redraw()
    assert running_jobs() == before


def test_at_full_speed_the_position_is_that_of_a_moment_ago():
    stage = Stage(speed=math.inf)
    stage.publisher.begin(START)
    stage.clock.advance(100.0)
    assert stage.look() == 0.0, "one position now and then is enough"
    stage.real.now_s += 2 * SHORTEST_S
    stage.clock.advance(100.0)
    assert stage.look() == 100.0
    stage.real.now_s += 3600.0
    assert stage.look() == 100.0, "it does not go on by itself"
    stage.publisher.close()


def test_the_next_run_takes_the_place_of_the_one_before(stage: Stage):
    stage.clock.advance(40.0)
    stage.publisher.begin(replace(START, number=4, origin_s=40.0))
    [(job, position)] = running_jobs()
    assert (job.run, job.origin_s, position.now_s) == (4, 40.0, 40.0)


def job_of(pid: int, start: int | None) -> PublishedJob:
    return PublishedJob(1, 42, {}, 0.0, "2026-01-01T00:00:00", (pid,), start, "python")


def publish(directory: Path, job: PublishedJob) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    path = path_of(directory, job.pid)
    path.write_bytes(Position(0.0, 0.0, 1.0, 1e9).line() + job.line())
    return path


def test_a_dead_job_is_ignored_and_removed(directory: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = publish(directory, job_of(gone.pid, 1234))
    assert running_jobs() == [] and not path.exists()


def test_another_process_with_the_same_number_is_not_the_job(directory: Path):
    start = process_start(os.getpid())
    assert start
    path = publish(directory, job_of(os.getpid(), start - 1))
    assert running_jobs() == [] and not path.exists()
    publish(directory, job_of(os.getpid(), start))
    assert len(running_jobs()) == 1


def test_the_newest_job_comes_first(directory: Path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as younger:
        for pid in (os.getpid(), younger.pid):
            publish(directory, job_of(pid, process_start(pid)))
        assert [job.pid for job, _ in running_jobs()] == [younger.pid, os.getpid()]
        younger.communicate(b"\n")
    assert [job.pid for job, _ in running_jobs()] == [os.getpid()]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"{}", b" " * POSITION_BYTES + b"[]", b" " * POSITION_BYTES + b'{"pids": 5}', b"\xff" * 500],
)
def test_a_file_that_is_no_job_is_passed_over(directory: Path, content: bytes):
    directory.mkdir(mode=0o700)
    (directory / "5.job").write_bytes(content)
    assert running_jobs() == []


def test_a_symbolic_link_is_no_job(directory: Path, tmp_path: Path):
    path = publish(directory, job_of(os.getpid(), process_start(os.getpid())))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert running_jobs() == []


def test_a_position_has_one_length_whatever_its_numbers():
    for number in (0.0, 1 / 3 * 1e9, 1.7976931348623157e308, -2.2250738585072014e-308):
        line = Position(number, number, number, number).line()
        assert len(line) == POSITION_BYTES and line.endswith(b"\n")


# --- Files that are none of a job -----------------------------------------------------------------


def as_directory(path: Path, lines: list[bytes]) -> None:
    path.mkdir()


def as_pipe(path: Path, lines: list[bytes]) -> None:
    os.mkfifo(path)


def as_link(path: Path, lines: list[bytes]) -> None:
    path.with_suffix(".elsewhere").write_bytes(b"".join(lines))
    path.symlink_to(path.with_suffix(".elsewhere"))


def cut(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines)[:-20])


def empty(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"")


def deep(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(lines[0] + b"[" * 100_000)


def field(line: int, name: str, value: object) -> Callable[[Path, list[bytes]], None]:
    def change(path: Path, lines: list[bytes]) -> None:
        lines[line] = json.dumps(json.loads(lines[line]) | {name: value}).encode().ljust(POSITION_BYTES - 1) + b"\n"
        path.write_bytes(b"".join(lines))

    return change


DAMAGE = [
    as_directory, as_pipe, as_link, cut, empty, deep,
    field(0, "now_s", "noon"), field(0, "now_s", 1e300), field(0, "real_s", None), field(0, "speed", -1.0),
    field(0, "until_s", float("nan")), field(0, "more", 1),
    field(1, "pids", []), field(1, "pids", ["x"]), field(1, "pids", [0]), field(1, "pids", 5), field(1, "command", 7),
    field(1, "run", 0), field(1, "run", 1.5), field(1, "seed", None), field(1, "config", []), field(1, "start", "noon"),
    field(1, "origin_s", 1e300), field(1, "process_start", "then"), field(1, "format", 2), field(1, "more", 1),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_none_of_a_job_is_said_to_be_damaged(
    damage: Callable[[Path, list[bytes]], None], stage: Stage, directory: Path
) -> None:
    lines = stage.publisher.path.read_bytes().splitlines(keepends=True)
    damage(directory / "1.job", lines)
    damaged: list[str] = []
    assert [job.pid for job, _ in running_jobs(damaged)] == [os.getpid()]
    [sentence] = damaged
    assert sentence.startswith(f"{directory / '1.job'} is damaged: it ") and "\n" not in sentence


def test_a_command_cannot_move_the_cursor(stage: Stage, directory: Path) -> None:
    lines = stage.publisher.path.read_bytes().splitlines(keepends=True)
    field(1, "command", "\x1b[2Jpython")(stage.publisher.path, lines)
    [(job, _)] = running_jobs()
    assert job.command == "\\x1b[2Jpython"
