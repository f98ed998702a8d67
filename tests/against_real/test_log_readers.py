"""Readers of console output find each step of a run once."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.real
LIMIT_S = 120
COMMAND = (
    sys.executable,
    "train.py",
    "--config",
    "debug",
    "--speed",
    "max",
    "--set",
    "log.every=1",
    "--max-steps",
    "9",
)
STEPS = [str(step) for step in range(1, 10)]


@pytest.fixture(scope="module")
def piped() -> str:
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return done.stdout + done.stderr


def steps_of(text: str) -> list[str]:
    return re.findall(r"INFO step (\d+) \|", text)


def test_wandbs_terminal_keeps_the_lines_of_a_pipe(piped: str) -> None:
    emulator = pytest.importorskip("wandb.sdk.lib.redirect").TerminalEmulator()
    for start in range(0, len(piped), 1000):
        emulator.write(piped[start : start + 1000])
    assert steps_of(emulator.read()) == STEPS


def test_mtail_counts_steps_and_reads_losses(piped: str, tmp_path: Path) -> None:
    mtail = shutil.which("mtail")
    if mtail is None:
        pytest.skip("mtail is not installed")
    (tmp_path / "run.log").write_text(piped)
    (tmp_path / "steps.mtail").write_text(
        "counter steps\ngauge loss\n/INFO step (?P<step>\\d+) \\| loss (?P<loss>\\d+\\.\\d+)/ {\n"
        "  steps++\n  loss = $loss\n}\n"
    )
    command = [mtail, "--progs", tmp_path, "--logs", tmp_path / "run.log", "--one_shot", "--one_shot_format=prometheus"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert re.search(rf"(?m)^steps\{{.*\}} {len(STEPS)}$", done.stdout), done.stdout
    last = re.findall(r"INFO step \d+ \| loss (\d+\.\d+)", piped)[-1]
    assert re.search(rf"(?m)^loss\{{.*\}} {float(last):g}", done.stdout)


def test_lnav_sees_the_time_and_the_level(piped: str, tmp_path: Path) -> None:
    lnav = shutil.which("lnav")
    if lnav is None:
        pytest.skip("lnav is not installed")
    (tmp_path / "run.log").write_text(piped)
    query = ";SELECT count(*) FROM generic_log WHERE log_level = 'info' AND log_text LIKE '%INFO step %'"
    command = [lnav, "-n", "-c", query, "-c", ":write-csv-to -", tmp_path / "run.log"]
    environment = {"HOME": str(tmp_path), "TERM": "xterm", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stdout.split()[-1] == str(len(STEPS)), done.stdout
