"""``Transport``: the interface between what a collective means and how its data moves.

A group holds one transport and one runner (``runner``). Everything that differs between the virtual world, processes
and a dry run is a method of one of the two.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeAlias

import numpy as np

from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.reduction import Array

Rows: TypeAlias = "Array | Sequence[Array]"
"""One array per member: stacked, or a list of them."""

ANY_SOURCE: Final = -1
"""The source of a receive that takes the first message from any member."""


class Received(NamedTuple):
    """A point-to-point message: the sender's global rank, the label that the sender gave it, and its bytes."""

    source: int
    label: str
    data: memoryview


class Transport(Protocol):
    """Moves data between the members of one group.

    An argument ``shards`` has one row per member played here. ``call`` is what the members compare, as ``label`` makes
    it. An ``out`` may be written into, and is returned if it was; ``out_row``, ``out_rows`` and ``out_block`` choose
    it; it is contiguous, and None where a result cannot be written as it arrives. Roots are group ranks; the ranks of
    point-to-point messages are global.
    """

    tensor_type: ClassVar[str]
    """The type of a tensor, as error texts name it."""
    has_uneven_blocks: ClassVar[bool]
    """True if the blocks of ``reduce_scatter`` may differ in size."""

    # -- arguments -----------------------------------------------------------------------------------------------------

    def rows_of(self, tensor: object, name: str, *, written: bool = False) -> Array:
        """The array behind ``tensor``, shape (ranks played here, \\*shape), as a view.

        TypeError for anything but a tensor of this world, or a dtype that torch does not have; ValueError if it will
        be ``written`` and cannot be. ``name`` is the parameter's.
        """

    def label(self, name: str, array: Array | None = None, *details: object, shapeless: bool = False) -> Call:
        """The description of a collective on ``array`` that the members compare. ``shapeless`` leaves its shape out."""

    def out_row(self, mine: Array, *read: Array) -> Array | None:
        """The row of ``mine`` to write a result into while the arrays ``read`` are being read."""

    def out_rows(self, rows: list[Array], mine: Array) -> list[Array] | None:
        """The arrays ``rows``, one per member, to write into while ``mine`` is being read."""

    def out_block(self, output: Array, mine: Array) -> Array | None:
        """The row of ``output`` to fold this member's block of ``mine`` into."""

    def check_messages(self) -> None:
        """Raise NotImplementedError where members cannot send each other messages."""

    # -- collectives ---------------------------------------------------------------------------------------------------

    async def all_fold(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """Left fold over all members in the order of ``reduction.fold_world``; one shard, new or ``out``."""

    async def reduce_scatter(
        self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None, sizes: Sequence[int] | None = None
    ) -> Array:
        """The blocks of that fold that belong to the members played here, in any shape.

        Block k has ``sizes[k]`` elements; None: all have the same. Sizes are given only with ``has_uneven_blocks``.
        """

    async def all_gather(self, shards: Array, call: Call, out: Sequence[Array] | None = None) -> Rows:
        """Every member's shard in group order; may be a view of ``shards``."""

    async def broadcast(self, shards: Array, root: int, call: Call, out: Array | None = None) -> Array:
        """The shard of group rank ``root``; may be a view of ``shards``."""

    async def gather(self, shards: Array, root: int, call: Call, out: Sequence[Array] | None = None) -> Rows | None:
        """Every member's shard where the root is played; None elsewhere."""

    async def scatter(
        self, parts: Sequence[Array] | None, root: int, call: Call, like: Array, out: Array | None = None
    ) -> Array:
        """Entry k of ``parts`` goes to group rank k; only the root has them. ``like`` is one entry's shape and dtype.

        Returns the entries of the members played here, stacked; of a process that plays one, its entry.
        """

    async def all_to_all(self, parts: Sequence[Array], call: Call, outs: Sequence[Array]) -> Sequence[Array]:
        """Entry k of ``parts`` goes to group rank k; returns one entry per sender, in any shape.

        Arrays have a leading axis of the members played here. An entry of the result that is the array of ``outs``
        itself has been written already.
        """

    async def barrier(self, name: str) -> None:
        """Return when every member has called. ``name`` is the collective's, which the members compare."""

    async def highest(self, number: int, call: Call) -> int:
        """The highest of the numbers that the members bring."""

    # -- objects -------------------------------------------------------------------------------------------------------

    def pack(self, obj: object) -> Any:
        """``obj`` in the form that the next four methods move. Raises whatever pickle raises."""

    def unpack(self, packed: Any, rank: int) -> Any:
        """A new copy of the object of global ``rank``, of which ``packed`` is the form."""

    async def all_gather_packed(self, packed: Any, call: Call) -> Sequence[Any]:
        """Every member's object, packed, in group order."""

    async def gather_packed(self, packed: Any, root: int, call: Call) -> Sequence[Any]:
        """Every member's object, packed, in group order where the root is played; in any form elsewhere."""

    async def broadcast_packed(self, packed: Any | None, root: int, call: Call) -> Any:
        """The root's object, packed; only the root has one."""

    async def scatter_packed(self, packed: Sequence[Any], root: int, call: Call) -> Any:
        """The root's entry for this rank; other members' ``packed`` is empty."""

    # -- point to point ------------------------------------------------------------------------------------------------

    def send(self, to: int, tag: int, label: str, data: memoryview) -> Coroutine[Any, Any, None]:
        """Send a message to a rank; done when the kernel has all of it. ``data`` must not change before."""

    def post(self, to: int, tag: int, label: str, data: memoryview) -> Coroutine[Any, Any, None] | None:
        """As ``send``, begun at once: the rest of it, or None if the kernel has all of the message."""

    def receive(self, source: int, tag: int) -> Coroutine[Any, Any, Received | None]:
        """The next message of a rank, or of any with ANY_SOURCE. None where no message ever comes."""

    def receive_now(self, source: int, tag: int, timeout: timedelta) -> Received | None:
        """As ``receive``, for a caller that waits at once, at most ``timeout``."""

    def close(self) -> None:
        """Release what the transport holds. Nothing is called afterwards."""
