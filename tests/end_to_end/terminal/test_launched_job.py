"""``fake-torchrun`` on a terminal: rank 0's bars stay at the bottom, the lines of all ranks scroll above them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.emulator import CTRL_C, Terminal, warm_launcher
from tests.support.repository import ROOT

BARS = """
import os, sys, time
from tqdm import tqdm
rank = int(os.environ["RANK"])
for i in tqdm(range(100_000), desc="outer", file=sys.stderr, disable=rank > 0):
    if i % 5 == rank:
        print(f"line {i} of rank {rank}")
    time.sleep(0.01)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "bars.py"
    path.write_text(BARS)
    return path


def environment() -> dict[str, str | None]:
    return {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("columns, lines", [(80, 24), pytest.param(120, 40, marks=pytest.mark.slow)])
def test_a_plain_scripts_bar_stays_below_everybodys_lines(script: Path, columns: int, lines: int) -> None:
    command = warm_launcher("--prefix", "--nnodes", "2", "--nproc-per-node", "2", str(script))
    with Terminal(command, columns, lines, environment()) as terminal:
        for number in (5, 55, *range(105, 109)):  # of each rank one behind its fifteenth
            terminal.wait_for(f"line {number} of rank {number % 5}")
            terminal.wait_until(lambda: terminal.used_lines[-1].startswith("outer:"), "the bar in the last line")
        assert not [line for line in terminal.everything.split("\n")[:-1] if "outer:" in line], "one bar, not many"
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1
    for rank in range(4):
        numbers = [
            i
            for i in range(100)
            if f"[node{rank // 2}:default{rank % 2}]:line {i} of rank {rank}\n" in terminal.everything
        ]
        assert numbers[:15] == [i for i in range(100) if i % 5 == rank][:15]


def test_a_resize_draws_the_bar_anew(script: Path) -> None:
    with Terminal(warm_launcher("--nproc-per-node", "2", str(script)), 120, 40, environment()) as terminal:
        terminal.wait_for("line 5 of rank 0")
        terminal.resize(60, 20)
        terminal.wait_for("line 50 of rank 0")
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("outer:"), "the bar in the last line")
        assert len(terminal.used_lines[-1]) < 60
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1


def test_training_on_two_nodes_looks_like_training(tmp_path: Path) -> None:
    command = warm_launcher(
        "--nnodes", "2", "--nproc-per-node", "2", str(ROOT / "train.py"), "--config", str(ROOT / "configs/debug.yaml"),
        "--speed", "20", "--set", "log.every=1",
    )  # fmt: skip
    with Terminal(command, 120, 40, environment()) as terminal:
        terminal.wait_for("step 3 |")
        terminal.wait_until(lambda: "Epoch" in terminal.used_lines[-1], "rank 0's bar in the last line")
        assert "[Rank 3/4]" in terminal.everything, "others speak, too"
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1
        ours = r'File "[^"]*/(accelerate_sim|fake_torch_dist|train\.py)[/"]'
        assert not re.search(ours, terminal.everything), "no frame is one of ours"


def test_tables_leave_room_for_the_prefix() -> None:
    command = warm_launcher(
        "--prefix", str(ROOT / "train.py"), "--config", str(ROOT / "configs/debug.yaml"), "--speed", "20",
        "--set", "log.every=1",
    )  # fmt: skip
    with Terminal(command, 100, 40, environment()) as terminal:
        terminal.wait_for("step 3 |")
        terminal.wait_until(lambda: "Epoch" in terminal.used_lines[-1], "rank 0's bar in the last line")
        rows = terminal.everything.split("\n")
        begins = [number for number, row in enumerate(rows) if row.startswith("[default0]:")]
        assert begins == list(range(len(begins))), "no row is the rest of one that was too long"
        assert max(len(rows[number]) for number in begins) > 80, "and the width is used"
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1


def test_output_in_files_alone_is_plain_on_a_terminal_too(tmp_path: Path) -> None:
    command = warm_launcher(
        "--redirects", "3", "--log-dir", str(tmp_path), "--nproc-per-node", "2", str(ROOT / "train.py"),
        "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max", "--max-steps", "5", "--runs", "1",
    )  # fmt: skip
    with Terminal(command, 80, 24, environment()) as terminal:
        before = terminal.keyboard
        assert terminal.exit_code() == 0
        assert terminal.keyboard == before
    (log,) = tmp_path.rglob("0/stdout.log")
    lines = log.read_text().splitlines()
    assert not any("\x1b]" in line for line in lines), "no rows for a terminal"
    assert any("step 5 | loss" in line and "mem " in line for line in lines), "whole lines, not folded to a width"
