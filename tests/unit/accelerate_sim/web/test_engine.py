"""The page's engine shows what ``train.py`` shows: frames of a recording, texts, and the bytes of a pipe."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyte
import pytest

from accelerate_sim.web import engine
from tests.support.reading import Train

START = ("--start-time", "2026-01-31T09:30:00")
DEBUG = ("--config", "debug", *START)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The handler of Ctrl-C is as it was before the test."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def played(*arguments: str, size: tuple[int, int] = (120, 40), **place: Any) -> tuple[list[Any], dict[str, Any]]:
    """Frames of a call of the engine, and what it returned."""
    batches: list[bytes] = []
    end = json.loads(engine.play(arguments, *size, batches.append, **place))
    return [frame for batch in batches for frame in json.loads(batch)], end


@cache
def whole_run(*options: str) -> tuple[list[Any], dict[str, Any]]:
    """Frames and end of the run of the debug config, played once for the tests that compare others with it."""
    return played(*DEBUG, *options)


def recorded(train: Train, tmp_path: Path, *arguments: str, size: str = "120x40") -> list[Any]:
    """Frames of ``--record``."""
    path = tmp_path / "run.cast"
    done = train(*arguments, "--record", str(path), "--record-size", size)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [[second, text] for second, _, text in events]


def screen_after(*frames: str) -> list[str]:
    """The lines of a terminal that was given the frames."""
    screen = pyte.Screen(120, 40)
    pyte.Stream(screen).feed("".join(frames))
    return list(screen.display)


@pytest.mark.parametrize(
    "arguments, size",
    [
        (DEBUG, (120, 40)),
        (("--config", "llama70b", "--seed", "7", "--max-steps", "60", *START), (80, 32)),
        (("--config", "llama405b", "--set", "train.lr=1e-4", "--max-steps", "12", *START), (44, 34)),
        (("--config", "classic", "--ascii", "--max-steps", "50", *START), (100, 30)),
    ],
)
def test_frames_are_those_of_a_recording(train: Train, tmp_path: Path, arguments: tuple[str, ...], size):
    frames, end = played(*arguments, size=size)
    assert frames == recorded(train, tmp_path, *arguments, size=f"{size[0]}x{size[1]}")
    assert end["code"] == 0


def test_a_second_run_in_one_process_is_the_same():
    first = played(*DEBUG, "--seed", "3")
    assert played("--config", "debug", "--max-steps", "5", *START)[0] != first[0]
    assert played(*DEBUG, "--seed", "3") == first


def test_runs_follow_each_other_as_in_one_session(train: Train, tmp_path: Path):
    shown: list[Any] = []
    following: list[float] = []
    for _ in range(3):
        frames, end = played(*DEBUG, beginning=following)
        shown += frames
        following = end["next"]
    assert [following[0], "Run 3:" in "".join(text for _, text in shown)] == [4, True]
    assert shown == recorded(train, tmp_path, *DEBUG, "--runs", "3")


@pytest.mark.parametrize(
    "size, more",
    [((120, 40), ()), ((160, 45), ("--seed", "4", "--fault", "kill rank=3 at=step:12", "--fault", "nan at=step:16"))],
)
def test_runs_of_a_dashboard_follow_each_other_on_its_screen(train: Train, tmp_path: Path, size, more):
    arguments = (*DEBUG, *more, "--runs", "2", "--dashboard")
    first, end = played(*arguments, size=size)
    second, last = played(*arguments, size=size, beginning=end["next"])
    assert last == {"code": 0, "next": None}
    assert first + second == recorded(train, tmp_path, *arguments, size=f"{size[0]}x{size[1]}")
    assert played(*arguments, size=size, beginning=end["next"])[0] == second, "the page asks again for its end"


def test_the_screen_between_two_runs_is_what_their_frames_have_drawn():
    arguments = (*DEBUG, "--dashboard")
    first, end = whole_run("--dashboard")
    second, next_end = played(*arguments, beginning=end["next"])
    assert not any("\x1b[?1049l" in text for _, text in first + second)
    frames = [text for _, text in first + second]
    assert screen_after(*frames[: len(first)]) == screen_after(end["screen"])
    assert (
        screen_after(*frames) == screen_after(end["screen"], *frames[len(first) :]) == screen_after(next_end["screen"])
    )


def test_ctrl_c_ends_the_second_run_of_a_dashboard_with_its_summary():
    arguments = (*DEBUG, "--dashboard")
    _, end = whole_run("--dashboard")
    whole, _ = played(*arguments, beginning=end["next"])
    second = whole[len(whole) // 2][0]
    frames, stopped = played(*arguments, beginning=end["next"], interrupt_s=second)
    assert stopped == {"code": 130, "next": None}
    before = [frame for frame in frames if frame[0] < second]
    assert before == whole[: len(before)] and before
    assert "\x1b[?1049l" in "".join(text for _, text in frames)


def test_runs_drawn_from_the_catalog_follow_each_other(train: Train, tmp_path: Path):
    drawn = ("--seed", "5", "--max-steps", "3", *START)
    first, end = played(*drawn)
    second, _ = played(*drawn, beginning=end["next"])
    assert first + second == recorded(train, tmp_path, *drawn, "--runs", "2")


def test_the_number_of_runs_is_that_of_the_command_line():
    _, end = played(*DEBUG, "--runs", "1")
    assert end == {"code": 0, "next": None}
    _, end = played(*DEBUG, "--runs", "2")
    assert end["next"][0] == 2
    assert played(*DEBUG, "--runs", "2", beginning=end["next"])[1]["next"] is None


def test_ctrl_c_ends_a_run_with_the_last_line_of_a_terminal():
    whole, _ = whole_run()
    second = whole[len(whole) // 2][0]
    frames, end = played(*DEBUG, interrupt_s=second)
    assert end == {"code": 130, "next": None}
    before = [frame for frame in frames if frame[0] < second]
    assert before == whole[: len(before)] and len(before) > 5
    assert frames[-1][0] == pytest.approx(second, abs=1e-5) and "Interrupted: " in frames[-1][1]


def test_ctrl_c_at_once_ends_before_the_first_step():
    frames, end = played(*DEBUG, interrupt_s=0.0)
    assert end["code"] == 130 and "Interrupted: before the first step" in frames[-1][1]


@pytest.mark.parametrize(
    "arguments, code",
    [
        (("--config", "llama70b", "--plan"), 0),
        (("--config", "debug", "--print-config"), 0),
        (("--list", "models"), 0),
        (("--version",), 0),
        (("--set", "train.lrr=1"), 2),
        (("--colour", "red"), 2),
        (("--config", "lama70b"), 2),
    ],
)
def test_texts_are_those_of_the_command_line(train: Train, arguments: tuple[str, ...], code: int):
    frames, end = played(*arguments)
    done = train(*arguments)
    assert [(second, text.replace("\r\n", "\n")) for second, text in frames] == [(0.0, done.stdout + done.stderr)]
    assert end == {"code": code, "next": None} and done.returncode == code


def test_help_is_as_wide_as_the_terminal():
    wide, narrow = (played("--help", size=(columns, 40))[0][0][1] for columns in (120, 60))
    assert "".join(wide.split()) == "".join(narrow.split()) and max(map(len, narrow.splitlines())) < 60


def test_the_digest_is_that_of_a_pipe(train: Train):
    done = train(*DEBUG, "--seed", "9", "--speed", "max")
    assert engine.digest([*DEBUG, "--seed", "9"]) == hashlib.sha256(done.stdout.encode()).hexdigest()


def test_arguments_and_width_are_as_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "77")
    before = list(sys.argv)
    played("--version")
    assert sys.argv == before and engine.os.environ["COLUMNS"] == "77"


def test_everything_is_warmed_up_without_an_output(capfd: pytest.CaptureFixture[str]):
    engine.warm_up()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("option", ["--output-dir", "-o", "--record"])
def test_a_page_refuses_to_write_files(option: str, tmp_path: Path):
    frames, end = played(*DEBUG, option, str(tmp_path / "files"))
    assert end["code"] == 2 and "".join(text for _, text in frames).startswith(f"{option}: a page keeps no files. ")
    assert not any(tmp_path.iterdir())
