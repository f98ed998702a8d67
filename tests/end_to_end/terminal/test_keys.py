"""Keys on a terminal and SIGUSR2 steer a session: pause, one step, speed, the grid, help, the end."""

import json
import re
import signal
import time
from pathlib import Path

from tests.support.emulator import CTRL_C, CTRL_Z, Terminal, environment, is_training, warm_train
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain

LLAMA = ("--config", "configs/llama70b.yaml", "--start-time", "2026-01-01", "--set", "log.every=1")
FAST = (*LLAMA, "--speed", "1500")
STANDING = (*LLAMA, "--set", "run.speed=0.1", "--set", "run.startup_speed=3000")


def steps(terminal: Terminal) -> list[int]:
    """Steps that the log shows."""
    return [int(number) for number in re.findall(r"step (\d+) \| loss", terminal.everything)]


def pause(terminal: Terminal) -> None:
    terminal.press(" ")
    terminal.wait_until(lambda: is_paused(terminal), "the note of a pause")


def is_paused(terminal: Terminal) -> bool:
    """True if a frame is complete and its last row begins with the note of a pause."""
    rows = terminal.used_lines
    return rows[-1].startswith("[paused]") and terminal.cursor == (0, len(rows) - 2)


def test_space_pauses_and_a_dot_plays_one_step():
    with Terminal(warm_train(*FAST), 120, 40) as terminal:
        terminal.wait_for("step 2 |")
        pause(terminal)
        assert "Epoch 1/3" in terminal.used_lines[-1], "the bar stands after the note"
        shown = terminal.text
        terminal.read_for(0.5)
        assert terminal.text == shown, "nothing moves"
        last = steps(terminal)[-1]
        for number in (last + 1, last + 2):
            terminal.press(".")
            terminal.wait_for(f"step {number} | loss")
            terminal.wait_until(lambda: is_paused(terminal), "the pause after the step")
            assert steps(terminal)[-1] == number
        terminal.press(" ")
        terminal.wait_for(f"step {last + 4} | loss")
        terminal.wait_until(lambda: is_training(terminal), "bars without a note")
        terminal.press("q")
        assert terminal.exit_code() == 0
        assert "[paused]" not in terminal.everything
        assert terminal.used_lines[-1].startswith("Ended: epoch 1/3, step ")


def test_the_speed_changes_in_the_middle_of_a_step():
    with Terminal(warm_train(*STANDING), 120, 40) as terminal:
        terminal.wait_until(lambda: is_training(terminal) or "Epoch 1/3" in terminal.text, "the first step")
        terminal.press("+")
        terminal.wait_for("[speed 0.2]")
        for _ in range(18):  # half a minute of simulated time would take minutes
            terminal.press("+")
        terminal.wait_for("step 1 | loss")
        terminal.press("-")
        terminal.press("0")
        terminal.wait_for("[speed 0.1]")
        terminal.wait_until(lambda: "[speed" not in terminal.text, "the note goes after two seconds")


def test_help_the_grid_and_unknown_keys():
    with Terminal(warm_train(*STANDING), 120, 40) as terminal:
        terminal.wait_until(lambda: "Epoch 1/3" in terminal.used_lines[-1], "the first step")
        terminal.press("?")
        terminal.wait_for("[space] pause [.] one step")
        grids = terminal.everything.count("64 GPUs on 8 nodes")
        for keys in ("hello", "\x1b[A", "\n"):
            terminal.press(keys)

        def is_drawn() -> bool:
            terminal.press("g")  # a key that arrives together with others that are none is left out
            return terminal.everything.count("64 GPUs on 8 nodes") > grids

        terminal.wait_until(is_drawn, "a grid")
        terminal.wait_until(lambda: "[space]" not in terminal.text, "the help goes after two seconds")
        assert "hello" not in terminal.everything


def test_the_help_of_a_narrow_screen_has_all_keys():
    with Terminal(warm_train(*STANDING), 80, 24) as terminal:
        terminal.wait_until(lambda: is_training(terminal) or "/1000" in terminal.used_lines[-1], "the first step")
        terminal.press("?")
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("[space] pause [.] one step"), "the help")
        row = terminal.used_lines[-1]
        assert all(key in row for key in ("[g] GPUs", "[f] fault", "[q] quit", "[+-0] speed")), row


def test_stop_resize_and_ctrl_c_work_in_a_pause():
    with Terminal(warm_train(*FAST), 120, 40) as terminal:
        before = terminal.keyboard
        terminal.wait_for("step 2 |")
        pause(terminal)
        terminal.press(CTRL_Z)
        terminal.wait_stopped()
        assert terminal.keyboard == before, "the shell gets the terminal as it was"
        terminal.foreground()
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("[paused]"), "still a pause")
        terminal.resize(100, 30)
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("[paused]"), "a pause at the new size")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 130
        assert terminal.keyboard == before


def test_sigusr2_pauses_and_resumes_without_a_terminal(tmp_path: Path):
    with WarmTrain([*FAST, "--publish"], environment({"XDG_RUNTIME_DIR": str(tmp_path)}), ROOT) as process:
        process.read_until("step 2 | loss")
        process.send_signal(signal.SIGUSR2)
        process.wait_until(lambda: is_standing(tmp_path), "a published clock that stands")
        process.read_what_is_there()  # printed before the pause
        said, until_s = process.lines, time.monotonic() + 0.5
        process.wait_until(lambda: time.monotonic() > until_s, "half a second")
        assert process.lines == said, "nothing is printed in a pause"
        process.send_signal(signal.SIGUSR2)
        process.read_lines_until(lambda lines: len(lines) > len(said), "more lines")


def is_standing(directory: Path) -> bool:
    """True if the job that is published below ``directory`` has a clock of speed 0."""
    (path,) = directory.rglob("*.job")
    position = json.loads(path.read_bytes().partition(b"\n")[0])
    return bool(position["speed"] == 0.0)


def test_f_asks_for_a_fault_whose_words_can_be_changed():
    with Terminal(warm_train(*STANDING, "--set", "faults.drawn=play", "--set", "faults.rate=0"), 120, 40) as terminal:
        terminal.wait_until(lambda: "Epoch 1/3" in terminal.used_lines[-1], "the first step")
        terminal.press("f")
        terminal.wait_for("fault: kill rank=any at=now_")
        terminal.press("\x15")
        terminal.press("kill rank=99 q")
        terminal.wait_for("fault: kill rank=99 q_")  # a key of another meaning is a character here
        terminal.press("\x7f\x7f\r")
        terminal.wait_for("[rank 99 of 64 does not exist.")
        terminal.press("f\r")  # typed ahead
        terminal.wait_for("[kill-1 strikes in step ")


def test_f_breaks_a_run_whose_config_names_no_fault(tmp_path: Path):
    out = tmp_path / "out"
    slow = ("--config", "configs/debug.yaml", "--set", "run.speed=0.05", "--set", "run.startup_speed=max")
    with Terminal(warm_train(*slow, "--runs", "1", "--output-dir", str(out)), 120, 40) as terminal:
        terminal.wait_until(lambda: "Epoch 1/2" in terminal.used_lines[-1], "the first step")
        clean = (out / "faults.jsonl").read_text()
        assert json.loads(clean)["count"] == 0
        assert '"attempt"' not in (out / "metrics.jsonl").read_text()
        terminal.press("f\x15exit rank=1 code=3 at=now\r")
        terminal.wait_for("[exit-1 strikes in step ")
        for _ in range(15):
            terminal.press("+")
        terminal.wait_for("Attempt 2: ")
        for _ in range(5):
            terminal.press("+")
        terminal.wait_for("Attempts          2")
        assert terminal.exit_code() == 0
    changes = [json.loads(line) for line in (out / "faults.jsonl").read_text().splitlines()]
    assert [change["state"] for change in changes if change["event"] == "fault"][:2] == ["planned", "begin"]
    assert all(change["event"] == "fault" for change in changes), "the line that there are none is gone"
