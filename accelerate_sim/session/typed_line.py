"""``TypedLine``: a line of text that is typed, key by key, while a session goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

ENTER, ESCAPE, ERASE, ERASE_ALL = "\r\n", "\x1b", "\x7f\b", "\x15"


@dataclass(frozen=True)
class TypedLine:
    """The text so far. Enter ends it, Escape leaves it, Backspace takes the last character and Ctrl-U all of them."""

    label: str
    text: str
    on_line: Callable[[str], None]

    @property
    def shown(self) -> str:
        """The label and the text, with the place of the next character."""
        return f"{self.label}{self.text}_"

    def type(self, keys: str) -> TypedLine | None:
        """The line after some keys; None if they end or leave it."""
        text = self.text
        if keys[0] == ESCAPE:
            return self if len(keys) > 1 else None  # a longer one is the code of an arrow or the like
        for key in keys:
            if key in ENTER:
                return None
            if key in ERASE:
                text = text[:-1]
            elif key == ERASE_ALL:
                text = ""
            elif key.isprintable():
                text += key
        return replace(self, text=text)

    def end(self, keys: str) -> None:
        """Give the whole line to its reader if the keys have ended it with Enter."""
        before, enter, _ = keys.replace("\r", "\n").partition("\n")
        if enter:
            line = self.type(before) if before else self
            if line and line.text.strip():
                self.on_line(line.text)
