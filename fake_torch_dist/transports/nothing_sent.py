"""``NothingSent``: the part that transports share whose collectives end in their own process."""

from __future__ import annotations

from typing import Final

from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.reduction import Array

_NO_LABEL: Final = Call("", "", ())
"""The label of every collective: no other process compares it."""


class NothingSent:
    """Labels and outputs of collectives that no other process takes part in.

    No result is written as it arrives, so every ``out`` is None.
    """

    __slots__ = ()

    def label(self, name: str, array: Array | None = None, *details: object, shapeless: bool = False) -> Call:
        """The same empty label for every collective."""
        return _NO_LABEL

    def out_row(self, mine: Array, *read: Array) -> None:
        """None."""

    def out_rows(self, rows: list[Array], mine: Array) -> None:
        """None."""

    def out_block(self, output: Array, mine: Array) -> None:
        """None."""
