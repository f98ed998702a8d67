"""A recording holds what a terminal of its size gets from the same run."""

import json
from pathlib import Path

import pyte
import pytest

from tests.support.emulator import Terminal, warm_train

LIVE = ("--config", "configs/debug.yaml", "--runs", "1", "--start-time", "2026-01-01")


@pytest.mark.parametrize("columns, lines", [(120, 40), (80, 24)])
def test_the_end_of_a_recording_is_the_end_of_a_live_run(tmp_path: Path, columns: int, lines: int):
    path = tmp_path / "run.cast"
    command = warm_train(*LIVE, "--record", str(path), "--record-size", f"{columns}x{lines}")
    with Terminal(command, columns, lines) as recorder:
        assert recorder.exit_code() == 0
    with Terminal(warm_train(*LIVE, "--speed", "40"), columns, lines) as live:
        assert live.exit_code() == 0
    screen = pyte.HistoryScreen(columns, lines, history=100_000, ratio=0.5)
    stream = pyte.Stream(screen)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        stream.feed(json.loads(line)[2])
    assert [*screen.display] == [*live.screen.display]
    assert (screen.cursor.x, screen.cursor.y) == live.cursor
    assert [live._line(line) for line in screen.history.top] == live.scrollback
