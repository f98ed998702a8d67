"""Hazards on a live terminal: bars stay at the bottom, lines are spoiled above them, and the truth has all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.config.hazards import HAZARDS
from tests.support.emulator import CTRL_C, Terminal, is_training, stale_bars, warm_launcher, warm_train, widest_line
from tests.support.repository import ROOT

LLAMA = ("--config", "configs/llama70b.yaml", "--speed", "600", "--start-time", "2026-01-01", "--set", "log.every=1")
SMALL = ("--config", "configs/debug.yaml", "--speed", "max", "--runs", "1", "--start-time", "2026-01-01")
COLORS = re.compile(r"\x1b\[[0-9;]*m")
LOUD = ("torn-lines:0.3", "ansi:0.3", "split-streams:0.2", "traceback:0.1", "rank-echo:0.1", "nan:0.3", "no-time:0.2")
PLAIN = {"NO_COLOR": "1"}
"""Without colours a line is not cut inside of one, which would eat a character of the next line."""
BARS = "carriage-return:0.5"


def flags(*hazards: str) -> list[str]:
    return [word for hazard in hazards for word in ("--log-hazard", hazard)]


def truth(directory: Path) -> list[dict[str, Any]]:
    path = directory / "log_truth.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def reached(directory: Path, step: int) -> bool:
    return any(entry["step"] >= step for entry in truth(directory))


def squeezed(text: str) -> str:
    """The characters alone, whatever was folded, padded or coloured."""
    return re.sub(r"\s", "", COLORS.sub("", text))


@pytest.mark.parametrize("columns, lines", [(80, 24), pytest.param(120, 40, marks=pytest.mark.slow)])
def test_bars_stay_below_spoiled_lines(tmp_path: Path, columns: int, lines: int) -> None:
    command = warm_train(*LLAMA, "--output-dir", str(tmp_path / "out"), *flags(*LOUD))
    with Terminal(command, columns, lines) as terminal:
        terminal.wait_until(lambda: reached(tmp_path / "out", 11), "step 11 in the truth")
        terminal.wait_until(lambda: is_training(terminal), "both bars at the bottom")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 130
        assert widest_line(terminal.raw) < columns
        assert stale_bars(terminal.everything.split("\n")) == []


@pytest.mark.parametrize("columns, lines", [(80, 24), (120, 40)])
def test_the_truth_has_each_line_and_the_screen_each_that_is_not_struck(
    tmp_path: Path, columns: int, lines: int
) -> None:
    command = warm_train(*SMALL, "--output-dir", str(tmp_path / "out"), *flags(*LOUD))
    with Terminal(command, columns, lines, env=PLAIN) as terminal:
        assert terminal.exit_code() == 0
        flat = squeezed(terminal.everything)
    entries = truth(tmp_path / "out")
    assert [entry["number"] for entry in entries] == list(range(len(entries)))
    assert sum(bool(entry["done"]) for entry in entries) > 10
    assert [entry["line"] for entry in entries if not entry["done"] and squeezed(entry["line"]) not in flat] == []


def test_frames_of_other_bars_leave_what_a_terminal_leaves_of_them(tmp_path: Path) -> None:
    command = warm_train(*LLAMA, "--output-dir", str(tmp_path / "out"), *flags(BARS))
    with Terminal(command, 120, 40, env=PLAIN) as terminal:
        terminal.wait_until(
            lambda: any(entry["step"] > 10 for entry in truth(tmp_path / "out")), "step 11 in the truth"
        )
        terminal.wait_until(lambda: terminal.used_lines[-2:][0].startswith("Training: "), "the bars at the bottom")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 130
        assert widest_line(terminal.raw) < 120
        flat = squeezed(terminal.everything)
    steps = [entry for entry in truth(tmp_path / "out") if "INFO step" in entry["line"]]
    struck = [entry for entry in steps if entry["done"]]
    assert struck
    assert all(squeezed(entry["line"]) in flat for entry in struck), "a line overwrites the frames before it"


@pytest.mark.parametrize("voice", ["hf@4", "lightning", "megatron"])
def test_the_lines_of_a_voice_are_spoiled_on_a_terminal_too(tmp_path: Path, voice: str) -> None:
    command = warm_train(*SMALL, "--voice", voice, "--output-dir", str(tmp_path / "out"), *flags("rank-echo:1"))
    with Terminal(command, 120, 40, env=PLAIN) as terminal:
        assert terminal.exit_code() == 0
        flat = squeezed(terminal.everything)
    entries = truth(tmp_path / "out")
    assert any(entry["done"] for entry in entries)
    assert all(squeezed(entry["line"]) in flat for entry in entries)


def launched(*arguments: str) -> list[str]:
    """``fake-torchrun`` with two nodes of two ranks each."""
    words = [str(ROOT / word) if word.startswith("configs/") else word for word in arguments]
    return warm_launcher("--nnodes", "2", "--nproc-per-node", "2", str(ROOT / "train.py"), *words)


JOB = {**PLAIN, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
ALL = [f"{name}:{0 if name == 'rotate' else 0.3}" for name in HAZARDS if name != "long-lines"]
"""Long lines would fill more rows than the emulator keeps."""


@pytest.mark.parametrize(
    "hazards", [ALL, *(pytest.param(some, marks=pytest.mark.slow) for some in (LOUD, ("mid-utf8:0.5", BARS)))]
)
def test_a_launched_jobs_terminal_has_each_line_that_is_not_struck(tmp_path: Path, hazards: tuple[str, ...]) -> None:
    command = launched(*SMALL, "--set", "log.ranks=all", "--output-dir", str(tmp_path / "out"), *flags(*hazards))
    with Terminal(command, 120, 40, env=JOB) as terminal:
        assert terminal.exit_code() == 0
        flat = squeezed(terminal.everything)
    paths = sorted((tmp_path / "out").glob("log_truth*.jsonl"))
    assert [path.name for path in paths] == ["log_truth.jsonl", *(f"log_truth.rank{rank}.jsonl" for rank in (1, 2, 3))]
    entries = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    assert any(entry["done"] for entry in entries)
    assert [entry["line"] for entry in entries if not entry["done"] and squeezed(entry["line"]) not in flat] == []


def test_a_launched_jobs_bars_stay_below_its_spoiled_lines(tmp_path: Path) -> None:
    slow = ("--speed", "20", "--set", "train.steps_per_epoch=1000", "--set", "log.every=10")
    command = launched(*SMALL, *slow, "--output-dir", str(tmp_path / "out"), *flags(*LOUD))
    with Terminal(command, 120, 40, env=JOB) as terminal:
        terminal.wait_until(lambda: reached(tmp_path / "out", 20), "step 20 in the truth")
        terminal.wait_until(
            lambda: [line.partition(" ")[0] for line in terminal.used_lines[-2:]] == ["Training:", "Epoch"],
            "both bars at the bottom",
        )
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1
