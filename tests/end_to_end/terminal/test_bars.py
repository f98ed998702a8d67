"""The live lines: two bars at the bottom, log lines above, at any size of the terminal and while it changes."""

import pytest

from tests.support.emulator import (
    BAR_PIECE,
    CTRL_C,
    LEFT_BEHIND,
    Terminal,
    is_training,
    stale_bars,
    step_figures,
    warm_train,
    widest_line,
)

LLAMA = ("--config", "configs/llama70b.yaml", "--speed", "600", "--start-time", "2026-01-01")
SMALL = ("--config", "configs/debug.yaml", "--speed", "max", "--runs", "1", "--start-time", "2026-01-01")
STANDING = ("--config", "configs/llama70b.yaml", "--set", "run.speed=0.1", "--set", "run.startup_speed=3000")
"""Start-up is over at once, and the first step takes minutes."""
SIZES = [(80, 24), (120, 40), (200, 50)]


@pytest.mark.parametrize("columns, lines", SIZES)
def test_the_bars_stay_at_the_bottom_while_lines_scroll_above(columns: int, lines: int):
    with Terminal(warm_train(*LLAMA, "--set", "log.every=1"), columns, lines) as terminal:
        for step in (10, 20, 30):
            terminal.wait_for(f"step {step} |")
            terminal.wait_until(lambda: is_training(terminal), "both bars at the bottom")
        assert len(terminal.used_lines) == lines, "log lines have filled the screen, so bars are its last lines"
        bar = step_figures(terminal)
        assert f"step {bar['n']} | loss {bar['loss']} | ppl " in terminal.everything, "the bar says what the log says"
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 130
        assert stale_bars(terminal.everything.split("\n")) == []
        assert widest_line(terminal.raw) < columns, "a line in the last column could wrap"


def test_a_terminal_of_120_columns_shows_what_a_pipe_shows():
    """Not a line is lost, doubled or torn. 120 columns are what tables on a pipe have."""
    arguments = (*SMALL, "--set", "log.every=1")
    with Terminal(warm_train(*arguments), 120, 40) as terminal:
        assert terminal.exit_code() == 0
        shown = unfolded([line for line in terminal.everything.split("\n") if line and not BAR_PIECE.search(line)])
    with Terminal(warm_train(*arguments), 120, 40, env={"TERM": "dumb"}) as plain:
        assert plain.exit_code() == 0
    lines = plain.raw.decode().split("\r\n")
    assert shown == [words(line) for line in lines if line and not BAR_PIECE.search(line)]


def unfolded(lines: list[str]) -> list[list[str]]:
    """The words of each line, of which folded ones are set in by 22 columns."""
    result: list[list[str]] = []
    for line in lines:
        if line.startswith(" " * 22):
            result[-1] += words(line)
        else:
            result.append(words(line))
    return result


def words(line: str) -> list[str]:
    return [word for word in line.split() if word != "|"]


def test_bars_that_are_done_stay_in_the_scrollback_once():
    with Terminal(warm_train(*SMALL), 80, 24) as terminal:
        assert terminal.exit_code() == 0
        left = [line.split(":")[0] for line in terminal.everything.split("\n") if LEFT_BEHIND.match(line)]
    assert left == [
        "Initializing weights", "Merging weights of all ranks", "Optimizing for inference",
        "Serializing to safetensors", "Writing shards",
    ]  # fmt: skip


def test_a_terminal_that_does_not_know_its_size_is_one_of_80_columns():
    with Terminal(warm_train(*LLAMA), 80, 24, told_size=(0, 0)) as terminal:
        terminal.wait_for("step 10 |")
        terminal.wait_until(lambda: is_training(terminal), "both bars at the bottom")
        assert 60 < widest_line(terminal.raw) < 80


@pytest.mark.parametrize("columns, lines", [(40, 10), (20, 5)])
def test_a_tiny_terminal_is_drawn_on_too(columns: int, lines: int):
    with Terminal(warm_train(*SMALL), columns, lines) as terminal:
        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.everything
        assert widest_line(terminal.raw) < columns


def test_after_a_resize_there_is_no_trace_of_the_old_bars():
    with Terminal(warm_train(*LLAMA), 120, 40) as terminal:
        for columns in (120, 80, 200):
            terminal.resize(columns, 40)
            said_until = len(terminal.raw)
            terminal.next_frames(3)
            terminal.wait_until(lambda: is_training(terminal), f"bars at {columns} columns")
            new = terminal.raw[said_until:].partition(b"\r\x1b[J")[2]  # from the first frame of the new size on
            assert widest_line(new) < columns


def test_a_resize_redraws_at_once_and_from_the_first_bar_on():
    """Lines may have been wrapped anew by the terminal; what is below the cursor is erased before it is drawn."""
    with Terminal(warm_train(*STANDING), 120, 40) as terminal:
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("Epoch 1/3:   0%|"), "a bar that stands still")
        terminal.wait_until(lambda: terminal.cursor == (0, len(terminal.used_lines) - 2), "the end of the frame")
        drawn = len(terminal.raw)
        terminal.resize(90, 40)
        terminal.wait_until(lambda: terminal.raw[drawn:].endswith(b"\r\x1b[1A"), "a frame")
        assert terminal.raw[drawn:].startswith(b"\r\x1b[J")
        assert widest_line(terminal.raw[drawn:]) == 89
