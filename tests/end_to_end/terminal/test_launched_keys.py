"""Keys under ``fake-torchrun``: the launcher reads them from its terminal, and the session of rank 0 acts on them."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.support.emulator import CTRL_C, CTRL_Z, Terminal, warm_launcher
from tests.support.processes import children_of, until
from tests.support.repository import ROOT

STANDING = (
    "--config", "debug", "--start-time", "2026-01-01", "--set", "log.every=1",
    "--set", "run.speed=0.1", "--set", "run.startup_speed=3000",
)  # fmt: skip
TWO_RANKS = ("--nproc-per-node", "2")


class LaunchedTrain(Terminal):
    """``fake-torchrun FLAGS train.py ARGUMENTS`` on a terminal."""

    def __init__(self, *flags: str, arguments: tuple[str, ...] = STANDING, size: tuple[int, int] = (120, 40)) -> None:
        command = warm_launcher(*flags, str(ROOT / "train.py"), *arguments)
        super().__init__(command, *size, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
        self.before = self.keyboard

    def wait_for_first_step(self) -> None:
        self.wait_until(lambda: "Epoch 1/2" in self.used_lines[-1], "the bar of the first step")

    def bar_begins(self, note: str) -> None:
        self.wait_until(lambda: self.used_lines[-1].startswith(note), f"{note!r} on the bar line")

    def pid_of_rank_0(self) -> int:
        (agent,) = children_of(self.pid)
        return min(children_of(agent))


@pytest.mark.parametrize("ranks", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_keys_steer_the_run(ranks: str) -> None:
    with LaunchedTrain("--nproc-per-node", ranks, size=(80, 24)) as terminal:
        terminal.wait_for_first_step()
        terminal.press(" ")
        terminal.bar_begins("[paused]")
        terminal.press(".")
        terminal.wait_for("step 1 | loss")
        terminal.bar_begins("[paused]")
        terminal.press("?")
        terminal.wait_for("[space] pause [.] one step")
        terminal.press("g")
        terminal.wait_for(" · step 2 · util ")
        terminal.press("+")
        terminal.wait_for("[speed 0.2]")
        terminal.press("q")
        assert terminal.exit_code() == 0
        assert terminal.keyboard == terminal.before
        assert "[paused]" not in terminal.everything
        assert any(line.startswith("Ended: epoch 1/2, step 1/") for line in terminal.used_lines)


def test_the_words_of_a_fault_are_typed_and_may_come_ahead() -> None:
    with LaunchedTrain(*TWO_RANKS) as terminal:
        terminal.wait_for_first_step()
        terminal.press("f\x15kill rank=99\r")
        terminal.wait_for("[rank 99 of 2 does not exist.")
        terminal.press("f")
        terminal.bar_begins("fault: kill rank=any at=now_")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1
        assert terminal.keyboard == terminal.before


@pytest.mark.parametrize("ranks", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again(ranks: str) -> None:
    with LaunchedTrain("--nproc-per-node", ranks) as terminal:
        terminal.wait_for_first_step()
        terminal.press(" ")
        terminal.bar_begins("[paused]")
        for _ in range(2):
            terminal.press(CTRL_Z)
            terminal.wait_stopped()
            assert terminal.keyboard == terminal.before, "the shell gets the terminal as it was"
            assert "[paused]" not in terminal.text, "and no bar below its prompt"
            terminal.foreground()
            terminal.bar_begins("[paused]")
        terminal.press(".")
        terminal.wait_for("step 1 | loss")
        terminal.press("q")
        assert terminal.exit_code() == 0
        assert terminal.keyboard == terminal.before


def test_keys_go_to_the_ranks_of_a_restart() -> None:
    with LaunchedTrain(*TWO_RANKS, "--max-restarts", "1") as terminal:
        for attempt in ("Run 1: train.py", "Attempt 2: "):
            terminal.wait_for(attempt)
            terminal.wait_for_first_step()
            terminal.press(" ")
            terminal.bar_begins("[paused]")
            os.kill(terminal.pid_of_rank_0(), signal.SIGKILL)
        assert terminal.exit_code() == 1
        assert terminal.keyboard == terminal.before


def test_a_launcher_that_is_killed_leaves_the_terminal_as_it_was() -> None:
    with LaunchedTrain(*TWO_RANKS) as terminal:
        terminal.wait_for_first_step()
        terminal.press(" ")
        terminal.bar_begins("[paused]")
        assert terminal.keyboard != terminal.before
        terminal.send(signal.SIGKILL)
        assert terminal.exit_code() == -signal.SIGKILL
        until(lambda: terminal.keyboard == terminal.before, "the agent has left the terminal as it was")


def test_a_second_ctrl_c_leaves_the_terminal_as_it_was() -> None:
    with LaunchedTrain(*TWO_RANKS) as terminal:
        terminal.wait_for_first_step()
        os.kill(terminal.pid_of_rank_0(), signal.SIGSTOP)  # it cannot end by itself
        terminal.press(CTRL_C)
        terminal.wait_for("SIGINT")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1
        assert terminal.keyboard == terminal.before


def test_a_job_in_the_background_leaves_the_terminal_alone(tmp_path: Path) -> None:
    script = tmp_path / "background.sh"
    words = [sys.executable, "-m", "fake_torch_dist.run", *TWO_RANKS, str(ROOT / "train.py"), *STANDING]
    script.write_text(f"set -m\n{' '.join(words)} &\nread -r line\nkill -TERM %1; wait %1\necho typed: $line\n")
    with Terminal(["/bin/bash", str(script)], 120, 40, env={"PYTHONPATH": str(ROOT)}) as terminal:
        before = terminal.keyboard
        terminal.wait_until(lambda: re.search("Epoch 1/2", terminal.text), "the bar of the first step")
        assert terminal.keyboard == before
        terminal.press("q for the shell\n")
        terminal.wait_for("typed: q for the shell")
        assert terminal.exit_code() == 0


def test_without_keys_the_terminal_stays_as_it_is() -> None:
    with LaunchedTrain(*TWO_RANKS, arguments=(*STANDING, "--no-keys")) as terminal:
        terminal.wait_for_first_step()
        assert terminal.keyboard == terminal.before
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1


READS = """
import os, sys, time
from tqdm import tqdm
bar = tqdm(total=10, desc="bar", disable=os.environ["RANK"] != "0")
for line in sys.stdin if os.environ["RANK"] == "0" else ():
    print(f"got {line.strip()} of {sys.stdin.isatty()}")
    bar.update()
    if line == "end\\n": break
"""


def test_the_standard_input_of_another_script_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(READS)
    command = warm_launcher(*TWO_RANKS, str(tmp_path / "reads.py"))
    with Terminal(command, 80, 24, env={"PYTHONPATH": str(ROOT)}) as terminal:
        before = terminal.keyboard
        terminal.wait_for("bar:")
        assert terminal.keyboard == before
        for word in ("q", "hello", "end"):
            terminal.press(f"{word}\n")
            terminal.wait_for(f"got {word} of True")
        assert terminal.exit_code() == 0
        assert terminal.keyboard == before
