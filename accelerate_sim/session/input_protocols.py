"""Protocols of the objects through which users steer a session while it goes on: keys of its terminal, and faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class KeyReader(Protocol):
    """Reads keys that steer the session."""

    def take(self) -> None:
        """Read keys from now on."""

    def give_back(self) -> None:
        """Read no more keys."""

    def add(self, key: str, text: str, act: Callable[[], None]) -> None:
        """Add a key, its word in the help, and its action."""

    def help(self, width: int) -> str:
        """The keys with their words, in so many columns."""

    def read_line(self, label: str, text: str, on_line: Callable[[str], None]) -> None:
        """Let the user change a text, and give it to ``on_line`` at Enter."""


class FaultTaker(Protocol):
    """Lets faults strike the active run that are asked for while it runs."""

    def ask(self, words: str) -> str:
        """Let one more fault strike. Returns a sentence about it. Raises FaultMistake."""

    def ahead(self) -> list[str]:
        """The faults that were asked for and have yet to strike, each with its step."""
