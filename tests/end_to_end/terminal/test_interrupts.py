"""Ctrl-C, SIGTERM, SIGHUP, Ctrl-Z and typing, at whatever moment they come."""

import random
import re
import signal
import time

import pytest

from tests.support.emulator import (
    CTRL_C,
    CTRL_Z,
    SHELL_SAYS,
    Terminal,
    is_training,
    seconds,
    stale_bars,
    step_figures,
    train_command,
    warm_train,
)

LLAMA = ("--config", "configs/llama70b.yaml", "--start-time", "2026-01-01")
SMALL = ("--config", "configs/debug.yaml", "--start-time", "2026-01-01")
FAST = ("--speed", "1500")
STANDING = ("--set", "run.speed=0.1", "--set", "run.startup_speed=3000")
SLOW_STORAGE = ("--set", "cluster.storage_gbytes_per_s=0.001", "--set", "checkpoint.every=0")
"""GPT-2's weights take four minutes of simulated time."""
PROMPT_S = 2.0
"""Far above the 100 ms that it takes, for machines that are busy: a step that waits for its end would take longer."""


def assert_left_tidily(terminal: Terminal, where: str) -> None:
    """One line says where the run stood, the cursor is below it, no bar is left, no key is shown."""
    assert terminal.cursor == (0, len(terminal.used_lines)), terminal.text
    assert where in terminal.text
    assert stale_bars(terminal.everything.split("\n")) == []
    assert "Traceback" not in terminal.everything


def wait_for_first_step(terminal: Terminal) -> None:
    terminal.wait_until(lambda: is_training(terminal), "a first step")


# --- The end --------------------------------------------------------------------------------------


MOMENTS = {
    "start-up": (LLAMA, "Initializing weights:", "Interrupted: before the first step"),
    "the first step": ((*LLAMA, *STANDING), "Epoch 1/3:   0%", "Interrupted: before the first step"),
    "training": ((*LLAMA, *FAST), "step 20 |", "Interrupted: epoch 1/3, step "),
    "full speed": ((*LLAMA, "--speed", "max"), "step 50 |", "Interrupted: epoch 1/3, step "),
    "validation": (
        (*LLAMA, *FAST, "--max-steps", "1", "--set", "eval.batches=100000"),
        "Validation:   0%",
        "Interrupted: epoch 1/3, step 1/1000 | loss 12.",
    ),
    "a checkpoint": (
        (
            *(*LLAMA, "--set", "run.speed=250", "--set", "run.startup_speed=3000"),
            *("--set", "checkpoint.every=1", "--set", "cluster.storage_gbytes_per_s=0.5"),
        ),
        "Saving checkpoint",
        "Interrupted: epoch 1/3, step 1/1000 | loss 12.",
    ),
    "export": (
        (*SMALL, *("--set", "run.speed=1e6", "--set", "run.startup_speed=250", "--max-steps", "1"), *SLOW_STORAGE),
        "Writing shards:",
        "Interrupted: epoch 1/2, step 1/10 | loss ",
    ),
    "the pause between runs": (
        (*SMALL, *FAST, "--max-steps", "1"),
        "Training finished successfully",
        "Interrupted: between two runs",
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_says_where_the_run_stood(moment: str):
    arguments, sign, where = MOMENTS[moment]
    with Terminal(warm_train(*arguments), 100, 30) as terminal:
        terminal.wait_for(sign)
        terminal.press(CTRL_C)
        assert terminal.exit_code(PROMPT_S) == 130
        assert_left_tidily(terminal, where)


def test_ctrl_c_names_the_last_checkpoint():
    arguments = (*SMALL, "--speed", "80", "--set", "checkpoint.every=2", "--set", "train.steps_per_epoch=2000")
    with Terminal(warm_train(*arguments), 120, 40) as terminal:
        terminal.wait_for("Checkpoint saved: outputs/gpt2/checkpoint-4 ")
        terminal.press(" ")  # with all that has been saved on the screen
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("[paused]"), "a pause")
        terminal.press(CTRL_C)
        assert terminal.exit_code(PROMPT_S) == 130
        saved = re.findall(r"Checkpoint saved: (\S+)", terminal.everything)
        assert_left_tidily(terminal, f"| last checkpoint {saved[-1]}")


@pytest.mark.parametrize("times", [6, pytest.param(12, marks=pytest.mark.slow)])
def test_ctrl_c_at_any_moment_ends_quickly_and_quietly(times: int):
    """From the first line of the package on: what Python itself prints before that is not ours."""
    chance = random.Random(20260101)
    for number in range(times):
        arguments = (LLAMA, (*LLAMA, "--speed", "max"), (*SMALL, "--speed", "max", "--runs", "0"))[number % 3]
        with Terminal(train_command(*arguments), 80, 24) as terminal:
            terminal.read_for(0.12 + 0.96 / times * number * chance.random())
            terminal.press(CTRL_C)
            code = terminal.exit_code(PROMPT_S)
            if "Traceback" in terminal.everything:
                # Before the package's first lines have run, Python has its own way of ending.
                assert set(re.findall(r"accelerate_sim/(\w+)", terminal.everything)) <= {"__init__"}
                continue
            assert code in (130, -signal.SIGINT), terminal.everything
            if code == 130 and "Interrupted:" in terminal.everything:
                assert_left_tidily(terminal, "Interrupted: ")


@pytest.mark.parametrize("number, code, word", [("SIGTERM", 143, "Terminated"), ("SIGINT", 130, "Interrupted")])
def test_a_signal_ends_the_run_as_ctrl_c_does(number: str, code: int, word: str):
    with Terminal(warm_train(*LLAMA, *FAST), 80, 24) as terminal:
        wait_for_first_step(terminal)
        terminal.send(getattr(signal, number))
        assert terminal.exit_code(PROMPT_S) == code
        assert_left_tidily(terminal, f"{word}: epoch 1/3, step ")


def test_a_second_ctrl_c_is_not_waited_for():
    with Terminal(warm_train(*LLAMA, "--speed", "max"), 80, 24) as terminal:
        terminal.wait_for("step 10 |")
        for _ in range(3):
            terminal.press(CTRL_C)
        assert terminal.exit_code(PROMPT_S) in (130, -signal.SIGINT)
        assert "Traceback" not in terminal.everything


def test_a_terminal_that_is_closed_ends_the_run():
    with Terminal(warm_train(*LLAMA, *FAST), 80, 24) as terminal:
        wait_for_first_step(terminal)
        terminal.hang_up()
        terminal.send(signal.SIGHUP)  # the shell's part
        assert terminal.exit_code(PROMPT_S) in (128 + signal.SIGHUP, 128 + signal.SIGPIPE)


def test_nohup_keeps_its_promise():
    ignoring = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "nohup", *train_command(*LLAMA, *FAST)]
    with Terminal(ignoring, 80, 24) as terminal:
        wait_for_first_step(terminal)
        terminal.send(signal.SIGHUP)
        n = int(step_figures(terminal)["n"])
        terminal.wait_until(lambda: is_training(terminal) and int(step_figures(terminal)["n"]) > n + 2, "more steps")


def test_a_duration_ends_the_run_by_itself():
    begin = time.monotonic()
    with Terminal(warm_train(*LLAMA, *FAST, "--duration", "1s"), 80, 24) as terminal:
        assert terminal.exit_code() == 0
        assert time.monotonic() - begin >= 1.0
        assert_left_tidily(terminal, "Time is up: ")


# --- Stopped for a while --------------------------------------------------------------------------


def test_ctrl_z_and_fg_go_on_where_the_run_was():
    with Terminal(warm_train(*LLAMA, "--set", "run.startup_speed=3000"), 120, 40) as terminal:
        terminal.wait_until(lambda: is_training(terminal) and int(step_figures(terminal)["n"]) > 3, "some steps")
        terminal.press(CTRL_Z)
        terminal.wait_stopped()
        assert stale_bars(terminal.everything.split("\n")) == [], "bars are cleared before the shell prompts"
        before = seconds(last_elapsed(terminal))
        terminal.read_for(0.7)  # 175 simulated seconds
        running_since = time.monotonic()
        terminal.foreground()
        wait_for_first_step(terminal)
        passed = seconds(step_figures(terminal)["elapsed"]) - before
        assert passed <= 60 + 250 * (time.monotonic() - running_since)
        n = int(step_figures(terminal)["n"])
        terminal.wait_until(lambda: is_training(terminal) and int(step_figures(terminal)["n"]) >= n + 3, "more steps")
        passed = seconds(step_figures(terminal)["elapsed"]) - before
        assert passed <= 60 + 250 * (time.monotonic() - running_since), "no burst of steps makes up for the stop"
        assert SHELL_SAYS in terminal.text, "what the shell has written stays"
        terminal.press(CTRL_C)
        assert terminal.exit_code(PROMPT_S) == 130
        assert_left_tidily(terminal, "Interrupted: ")


def last_elapsed(terminal: Terminal) -> str:
    """Elapsed time in the last step bar that was drawn, on screen or not."""
    frames = terminal.raw.decode().split("Epoch 1/3:")
    return frames[-1].partition("[")[2].partition("<")[0]


def test_the_second_stop_is_like_the_first():
    with Terminal(warm_train(*LLAMA, *STANDING), 80, 24) as terminal:
        before = terminal.keyboard
        for _ in range(2):
            terminal.wait_until(lambda: terminal.used_lines[-1].startswith("Epoch 1/3:   0%|"), "bars")
            terminal.press(CTRL_Z)
            terminal.wait_stopped()
            assert terminal.keyboard == before, "the shell gets the terminal as it was"
            terminal.foreground()
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("Epoch 1/3:   0%|"), "bars")
        terminal.press(CTRL_C)
        assert terminal.exit_code(PROMPT_S) == 130


# --- Keys and slow readers ------------------------------------------------------------------------


def test_without_keys_what_is_typed_does_no_harm_and_is_left_to_the_shell():
    with Terminal(warm_train(*LLAMA, *FAST, "--no-keys"), 80, 24) as terminal:
        before = terminal.keyboard
        wait_for_first_step(terminal)
        for keys in ("\n", "hello\n", "q", "\x1b[A", "\n\n\n", "\t"):
            terminal.press(keys)
            terminal.next_frames(1)
        terminal.wait_until(lambda: is_training(terminal), "bars at the bottom")
        terminal.press(CTRL_C)
        assert terminal.exit_code(PROMPT_S) == 130
        assert "hello" not in terminal.everything
        assert stale_bars(terminal.everything.split("\n")) == []
        assert terminal.keyboard == before, "the terminal is as it was"


def test_a_reader_that_takes_its_time_gets_every_line():
    arguments = (*SMALL, "--speed", "max", "--runs", "1", "--set", "log.every=1", "--set", "train.steps_per_epoch=60")
    with Terminal(warm_train(*arguments), 120, 40) as terminal:
        terminal.wait_for("step 1 ")
        terminal.wait_until_full()
        assert terminal.exit_code() == 0
        said = [word for line in terminal.everything.split("\n") for word in line.split("step ")[1:]]
        assert [int(text.split()[0]) for text in said if " | loss" in text] == list(range(1, 121))
        assert stale_bars(terminal.everything.split("\n")) == []


def test_ctrl_c_does_not_wait_for_a_reader_that_takes_nothing():
    with Terminal(warm_train(*LLAMA, "--speed", "max"), 120, 40) as terminal:
        terminal.wait_for("step 10 |")
        terminal.wait_until_full()
        terminal.send(signal.SIGTERM)
        terminal.reading = False
        assert terminal.exit_code(PROMPT_S) == 143
