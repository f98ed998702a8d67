"""The dashboard: the whole screen at any size, the same frames for the same seed, and the summary when it is left."""

import json
import re
import signal
import time
from pathlib import Path

import pyte
import pytest

from tests.support.emulator import Terminal, environment, warm_train
from tests.support.repository import ROOT
from tests.support.warm_train import run_warm

LLAMA = ("--config", "configs/llama70b.yaml", "--start-time", "2026-01-01", "--dashboard", "--speed", "1500")
SMALL = ("--config", "configs/debug.yaml", "--start-time", "2026-01-01", "--dashboard", "--runs", "1")
TITLES = ("loss", "temperature", "throughput", "a step", "ahead")


def is_drawn(terminal: Terminal) -> bool:
    return all(f" {title} " in terminal.text for title in TITLES) and "tokens/s" in terminal.text


@pytest.mark.parametrize("columns, lines", [(80, 24), (120, 40), (300, 90)])
def test_all_panels_fit_into_the_screen(columns: int, lines: int):
    with Terminal(warm_train(*LLAMA), columns, lines) as terminal:
        terminal.wait_until(lambda: is_drawn(terminal), "all panels")
        assert terminal.lines[0].startswith("run 1 · Llama-3-70B · 64 GPUs · 2026-01-01 ")
        assert b"\x1b[?1049h" in terminal.raw
        terminal.press("q")
        assert terminal.exit_code() == 0
        assert b"\x1b[?1049l" in terminal.raw


def test_a_resize_a_pause_and_the_key_of_the_heat_map():
    with Terminal(warm_train(*LLAMA), 120, 40) as terminal:
        terminal.wait_until(lambda: is_drawn(terminal), "all panels")
        terminal.press("t")
        terminal.wait_until(lambda: " power " in terminal.text, "another figure")
        terminal.press("?")
        terminal.wait_until(lambda: "[q] quit [t] GPUs by" in terminal.lines[39], "the key in the help")
        terminal.resize(90, 30)
        terminal.wait_until(lambda: " power " in terminal.text and "loss" in terminal.lines[1], "the new size")
        terminal.press(" ")
        terminal.wait_until(lambda: terminal.lines[29].startswith("[paused]"), "the pause in the last row")


def test_a_slow_terminal_gets_the_end_of_the_last_frame():
    with Terminal(warm_train(*LLAMA), 120, 40) as terminal:
        before = terminal.keyboard
        terminal.wait_until(lambda: is_drawn(terminal), "all panels")
        terminal.wait_until_full()
        terminal.send(signal.SIGTERM)
        time.sleep(0.5)  # the terminal takes nothing for longer than a session without a dashboard waits
        assert terminal.exit_code() == 143
        assert b"\x1b[?1049l" in terminal.raw
        assert "Terminated: epoch 1/3" in terminal.text
        assert terminal.keyboard == before


def test_leaving_it_leaves_the_summary():
    with Terminal(warm_train(*SMALL, "--speed", "max"), 80, 40) as terminal:
        assert terminal.exit_code() == 0
        after = terminal.raw.decode().rpartition("\x1b[?1049l")[2]
    assert "Run 1: GPT-2" in after
    assert "Final loss" in after
    assert "\x1b[?1049h" not in after


def test_a_recording_has_the_same_frames_for_the_same_seed(tmp_path: Path):
    casts = [tmp_path / name for name in ("one.cast", "two.cast")]
    for cast in casts:
        done = run_warm([*SMALL, "--seed", "3", "--record", str(cast)], environment(), ROOT)
        assert (done.returncode, done.stderr) == (0, "")
    assert casts[0].read_bytes() == casts[1].read_bytes()
    frames = [json.loads(line)[2] for line in casts[0].read_text().splitlines()[1:]]
    screen = pyte.Screen(120, 40)
    stream = pyte.Stream(screen)
    for frame in frames:
        stream.feed(frame)
        if " ahead " in "".join(screen.display):
            break
    assert re.match(r"run 1 · GPT-2 · 4 GPUs", screen.display[0])


@pytest.mark.parametrize("size", ["80x24", "120x40"])
def test_plain_characters(tmp_path: Path, size: str):
    cast = tmp_path / "plain.cast"
    saving = ("--set", "checkpoint.every=1000")  # its row in the panel is longer than a small screen has room for
    done = run_warm([*SMALL, *saving, "--ascii", "--record", str(cast), "--record-size", size], environment(), ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(json.loads(line)[2].isascii() for line in cast.read_text().splitlines()[1:])


def test_a_pipe_has_no_dashboard():
    done = run_warm([*SMALL, "--speed", "max"], environment(), ROOT)
    assert done.returncode == 2
    assert "--dashboard: " in done.stderr
