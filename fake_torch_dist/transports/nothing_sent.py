"""``NothingSent``: the part that transports share whose collectives end in their own process."""

from __future__ import annotations

from typing import Any, Final

from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.reduction import Array

_NO_LABEL: Final = Call("", "", ())
"""The label of every collective: no other process compares it."""


class NothingSent:
    """Collectives that no other process takes part in: labels, outputs, barriers, agreements and gathered objects.

    No result is written as it arrives, so every ``out`` is None.
    """

    __slots__ = ()

    _size: int
    """Number of members."""

    def label(self, name: str, array: Array | None = None, *details: object, shapeless: bool = False) -> Call:
        """The same empty label for every collective."""
        return _NO_LABEL

    def out_row(self, mine: Array, *read: Array) -> None:
        """None."""

    def out_rows(self, rows: list[Array], mine: Array) -> None:
        """None."""

    def out_block(self, output: Array, mine: Array) -> None:
        """None."""

    async def barrier(self, name: str) -> None:
        """Return at once."""

    async def highest(self, number: int, call: Call) -> int:
        """The number of this process."""
        return number

    async def all_gather_packed(self, packed: Any, call: Call) -> list[Any]:
        """``packed`` once for every member."""
        return [packed] * self._size

    async def gather_packed(self, packed: Any, root: int, call: Call) -> list[Any]:
        """As ``all_gather_packed``."""
        return [packed] * self._size

    def close(self) -> None:
        """There is nothing to release."""
