"""The page of drills tells the truth: each command runs, and the answer stands where the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher
from tests.support.warm_train import run_warm

PAGE = (ROOT / "accelerate_sim/faults/DRILLS.md").read_text(encoding="utf-8")
DRILLS = dict(re.findall(r"^## (\d+\. .*?)\n.*?```console\n(.*?)```", PAGE, re.S | re.M))
ANSWERS = {"4": '"lost_steps":6', "6": '"step":8,', "7": '"resume_step":5', "8": "storage", "10": "GPU-"}
"""Text of the answers that no draw decides."""
LIMIT_S = 60


def run(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the page in a directory of its own, with this Python and the files of this checkout."""
    program, *rest = shlex.split(command)
    words = [str(ROOT / word) if word == "train.py" or word.startswith("configs/") else word for word in rest]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if program == "fake-torchrun":
        return run_launcher(words, cwd=cwd, env=environ, timeout=LIMIT_S)
    if program == "python":
        assert rest[0] == "train.py"
        return run_warm(words[1:], environ, cwd)
    return subprocess.run(
        [program, *words], cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=environ
    )


def test_there_are_ten_drills() -> None:
    assert [int(name.split(".")[0]) for name in DRILLS] == list(range(1, 11))


@pytest.mark.parametrize("name", DRILLS)
def test_the_commands_of_a_drill_run_and_find_the_answer(name: str, tmp_path: Path) -> None:
    commands = DRILLS[name]
    play, answer = [line.removeprefix("$ ") for line in commands.splitlines()]
    played = run(play, tmp_path)
    assert played.returncode == 0, played.stderr
    found = run(answer, tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() and ANSWERS.get(name.split(".")[0], "") in found.stdout
