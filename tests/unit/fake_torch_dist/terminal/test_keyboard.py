"""The keyboard of a terminal; on systems without flags of keyboards it does nothing."""

from __future__ import annotations

import os

import pytest

from fake_torch_dist.terminal import keyboard
from fake_torch_dist.terminal.keyboard import Keyboard


def test_a_system_without_termios_has_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyboard, "HAS_FLAGS", False)
    monkeypatch.delattr(keyboard, "termios")
    quiet = Keyboard(0)
    quiet.hush()
    quiet.restore()


def test_what_is_no_terminal_has_no_keyboard() -> None:
    reader, writer = os.pipe()
    for fd in (reader, writer, -1):
        quiet = Keyboard(fd)
        quiet.hush()
        quiet.restore()
    os.close(reader)
    os.close(writer)


def test_a_terminal_that_a_killed_process_has_left_is_as_it_was() -> None:
    termios = pytest.importorskip("termios")
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    left = termios.tcgetattr(slave)
    left[3] = left[3] & ~(termios.ECHO | termios.ICANON) | termios.NOFLSH
    termios.tcsetattr(slave, termios.TCSANOW, left)
    Keyboard(slave).unhush()
    assert termios.tcgetattr(slave) == before
    of_a_shell = termios.tcgetattr(slave)
    of_a_shell[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(slave, termios.TCSANOW, of_a_shell)
    Keyboard(slave).unhush()
    assert termios.tcgetattr(slave)[3] == of_a_shell[3], "a shell that reads a line has set its own flags"
    os.close(master)
    os.close(slave)
