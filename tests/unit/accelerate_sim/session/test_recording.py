"""``--record``: an asciicast of what a terminal would have shown, and when."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pyte
import pytest

from accelerate_sim.session.recording import Recording, RecordingFailed
from tests.support.reading import Completed, Train

START = "2026-01-01T00:00:00"
SMALL = ("--config", "configs/debug.yaml", "--start-time", START)
LIMIT_S = 60


def cast_of(path: Path) -> tuple[dict[str, Any], list[tuple[float, str, str]]]:
    """Header and events."""
    header, *events = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return header, [tuple(event) for event in events]


def shown(header: dict[str, Any], events: list[tuple[float, str, str]]) -> list[str]:
    """All lines that a terminal holds at the end, scrolled off or not."""
    screen = pyte.HistoryScreen(header["width"], header["height"], history=100_000, ratio=0.5)
    stream = pyte.Stream(screen)
    for _, _, text in events:
        stream.feed(text)
    rows = [*screen.history.top, *(screen.buffer[row] for row in range(screen.lines))]
    return ["".join(row[column].data for column in range(screen.columns)).rstrip() for row in rows]


@pytest.fixture
def recorded(train: Train, tmp_path: Path):
    """``recorded(*arguments)`` records a run: what the command said, and the file."""

    def run(*arguments: str) -> tuple[Completed, Path]:
        path = tmp_path / "run.cast"
        return train(*arguments, "--record", str(path)), path

    return run


@pytest.fixture(scope="module")
def show(train: Train, tmp_path_factory: pytest.TempPathFactory) -> tuple[Completed, Path]:
    """The small run, recorded once: what the command said, and the file."""
    path = tmp_path_factory.mktemp("show") / "run.cast"
    return train(*SMALL, "--record", str(path)), path


def test_the_file_is_an_asciicast_and_says_that_it_is_simulated(show):
    done, path = show
    assert (done.returncode, done.stderr) == (0, "")
    header, events = cast_of(path)
    assert (header["version"], header["width"], header["height"]) == (2, 120, 40)
    assert header["simulated"] is True and "simulated" in header["title"]
    assert header["env"]["TERM"] == "xterm-256color"
    assert {kind for _, kind, _ in events} == {"o"}
    times = [time for time, _, _ in events]
    assert times == sorted(times) and times[0] == 0.0
    assert f"{len(events)} frames" in done.stdout and str(path) in done.stdout


def test_it_lasts_as_long_as_the_show_at_its_pace(recorded):
    """Simulated seconds, read from the log, over the pace."""
    done, path = recorded(*SMALL, "--record-pace", "5")
    assert done.returncode == 0
    header, events = cast_of(path)
    text = "\n".join(shown(header, events))
    assert "Training finished" in text
    times = [datetime.fromisoformat(found) for found in re.findall(r"^\[([\d-]+ [\d:]+)\]", text, re.M)]
    assert events[-1][0] == pytest.approx((times[-1] - times[0]).total_seconds() / 5.0, abs=0.5)


def test_the_same_run_is_the_same_recording(recorded, show):
    _, path = recorded(*SMALL)
    assert path.read_bytes() == show[1].read_bytes()


def test_bars_and_colours_are_those_of_a_terminal(recorded):
    _, path = recorded(*SMALL, "--record-size", "80x24")
    header, events = cast_of(path)
    assert (header["width"], header["height"]) == (80, 24)
    text = "".join(text for _, _, text in events)
    assert "\x1b[32mINFO\x1b[0m" in text and "\x1b[?2026h" in text
    half = events[: len(events) // 2]
    assert any("Epoch 1/2" in line or "/10 " in line for line in shown(header, half)[-3:])
    assert not any("%|" in line for line in shown(header, events)[-3:]), "they are gone at the end"


def test_frames_are_no_closer_than_a_terminal_gets_them(recorded):
    _, path = recorded(*SMALL, "--record-pace", "1000")
    _, events = cast_of(path)
    times = [time for time, _, _ in events]
    assert len(times) < 20 * times[-1] + 60


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--speed", "max"), "--record: run.speed = max leaves no time to see anything."),
        (("--runs", "0"), "--record: run.runs = 0 never ends. Give --runs or --duration."),
        (("--record-pace", "0"), "0 is not above 0"),
        (("--record-size", "120"), "'120' is not COLUMNSxROWS like 120x40"),
        (("--record-size", "0x40"), "'0x40' is not COLUMNSxROWS like 120x40"),
        (("--record-pace", "max"), "leaves no time to see anything"),
    ],
)
def test_what_cannot_be_recorded_is_refused(recorded, arguments: tuple[str, ...], message: str):
    done, path = recorded(*SMALL, *arguments)
    assert done.returncode == 2 and message in " ".join(done.stderr.split())
    assert not path.exists() and list(path.parent.iterdir()) == []


def test_an_endless_show_is_recorded_for_a_while(recorded):
    done, path = recorded(*SMALL, "--runs", "0", "--duration", "30s")
    assert done.returncode == 0, done.stderr
    _, events = cast_of(path)
    assert 29.0 <= events[-1][0] <= 30.0
    assert "Run 2:" in "".join(text for _, _, text in events)


def test_nothing_is_ever_overwritten(train: Train, show):
    _, path = show
    before = path.read_bytes()
    done = train(*SMALL, "--record", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--record: {path} exists already" in done.stderr
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_found_before_anything_begins(train: Train, tmp_path: Path):
    done = train(*SMALL, "--record", str(tmp_path / "missing" / "run.cast"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "can't be written: No such file or directory" in done.stderr


def test_a_file_that_comes_meanwhile_is_left_alone(tmp_path: Path):
    path = tmp_path / "run.cast"
    with Recording(path, 80, 24) as recording:
        recording.show("x")
        path.write_text("mine")
        with pytest.raises(RecordingFailed, match="File exists"):
            recording.keep()
    assert path.read_text() == "mine" and [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("has_unnamed_files", [True, False])
def test_it_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_unnamed_files: bool):
    if not has_unnamed_files:
        monkeypatch.setattr(os, "O_TMPFILE", 0)
    path = tmp_path / "run.cast"
    with Recording(path, 80, 24) as recording:
        recording.show("x")
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []
    with Recording(path, 80, 24) as recording:
        recording.show("x")
        recording.keep()
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == '[0.000000, "o", "x"]\n'


def test_a_full_disk_is_said(tmp_path: Path):
    with Recording(tmp_path / "run.cast", 80, 24) as recording:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, recording.fd)
        os.close(full)
        recording.show("x")
        with pytest.raises(RecordingFailed, match=r"No space left on device\. Nothing has been recorded"):
            recording.keep()


@pytest.mark.real
def test_asciinema_plays_it(recorded):
    asciinema = shutil.which("asciinema")
    if not asciinema:
        pytest.skip("asciinema is not installed")
    _, path = recorded(*SMALL)
    _, events = cast_of(path)
    played = subprocess.run([asciinema, "cat", str(path)], capture_output=True, timeout=LIMIT_S, check=True)
    assert played.stdout.decode() == "".join(text for _, _, text in events)


@pytest.mark.slow
def test_ten_minutes_take_seconds(tmp_path: Path, root: Path):
    path = tmp_path / "run.cast"
    command = [sys.executable, "train.py", "--config", "configs/llama70b.yaml", "--duration", "10m", "--runs", "0"]
    before = os.times()
    subprocess.run([*command, "--record", str(path)], cwd=root, timeout=LIMIT_S, check=True, capture_output=True)
    after = os.times()
    taken_s = after.children_user - before.children_user
    _, events = cast_of(path)
    print(f"{events[-1][0]:.0f} s of show, {len(events)} frames in {taken_s:.1f} s")
    assert events[-1][0] > 590 and taken_s < 10
