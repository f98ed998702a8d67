"""A run that several pytest processes ask for is played once, and all of them read the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.played_runs import played_once
from tests.support.processes import exit_codes


def test_of_processes_that_ask_at_once_one_plays_the_run(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "out"

    def train(*arguments: str) -> subprocess.CompletedProcess[str]:
        with open(tmp_path / "plays", "a") as file:
            file.write("played\n")
        return subprocess.CompletedProcess(arguments, 0, f"█ {arguments[-1]}\r\n", "")

    def ask() -> None:
        run = played_once(directory, train, ["--seed", "1"])
        assert (run.text, run.directory) == (f"█ {directory}\r\n", directory)

    assert exit_codes(ask, ask, ask) == [0, 0, 0]
    assert (tmp_path / "plays").read_text() == "played\n"


def test_a_run_that_fails_is_played_again_by_who_asks_next(tmp_path: Path) -> None:
    codes = [1, 0]

    def train(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(arguments, codes.pop(0), "text", "")

    def ask() -> str:
        return played_once(tmp_path / "run" / "out", train, []).text

    with pytest.raises(AssertionError):
        ask()
    assert ask() == "text"
    assert codes == []
