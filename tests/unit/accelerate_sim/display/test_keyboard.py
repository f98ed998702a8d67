"""The keyboard of a terminal; on systems without flags of keyboards it does nothing."""

from __future__ import annotations

import os

import pytest

from accelerate_sim.display import keyboard
from accelerate_sim.display.keyboard import Keyboard


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
