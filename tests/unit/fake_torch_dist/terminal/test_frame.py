"""Frames and live rows have one form, whoever draws them: the launcher, or a process with a terminal of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accelerate_sim.display.canvas import LauncherCanvas, TerminalCanvas
from fake_torch_dist.terminal.descriptor import write_all
from fake_torch_dist.terminal.live_protocol import live_block, split_update
from fake_torch_dist.terminal.live_rows import LiveTerminal


def test_both_draw_the_same_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "10")
    terminal = LiveTerminal(lambda: (40, 10))
    canvas = TerminalCanvas(-1)
    canvas.frame((), ["first"])
    terminal.show("stdout", [b"first"])
    terminal.frame(b"")
    terminal.show("stdout", [b"one", b"two"])
    assert canvas.frame(["a line"], ["one", "two"]).encode() == terminal.frame(b"a line\n")


def test_a_row_that_is_no_utf_8_survives_the_canvas() -> None:
    assert "\udcff" in TerminalCanvas(-1).frame(["\udcff"], [])


@pytest.mark.parametrize("rows", [(), ("one",), ("one", "", "three")])
def test_an_update_is_read_as_it_was_written(rows: tuple[str, ...]) -> None:
    line = LauncherCanvas("/nowhere").frame((), rows)
    assert line == live_block(rows)
    assert split_update(b"text" + line.encode().removesuffix(b"\n")) == (b"text", tuple(row.encode() for row in rows))


@pytest.mark.parametrize("line", [b"", b"plain", b"a title \x1b]0;x\x07", b"\x1b]fake-torchrun;live;cut"])
def test_other_lines_are_no_updates(line: bytes) -> None:
    assert split_update(line) is None


def test_all_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    with open(tmp_path / "file", "wb") as file:
        write_all(file.fileno(), b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
