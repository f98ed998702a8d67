"""``GroupMembers``: the ranks of a group, its labels, and the rows of arrays that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import whole_number
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.runner import Runner
from fake_torch_dist.core.transport import Transport

if TYPE_CHECKING:
    from fake_torch_dist.stores.base import Store


class GroupLabels(NamedTuple):
    """The name, backend, timeout and store of a group, which its transport does not depend on."""

    name: str
    description: str
    backend: str
    timeout: timedelta
    store: Store | None = None
    """The store in which the ranks met; None if they met in none."""


class GroupMembers:
    """An ordered set of ranks, of which this process plays some, with the transport and the runner between them."""

    __slots__ = (
        "_rows", "backend", "group_desc", "group_name", "is_open", "num_local", "number", "played", "ranks",
        "ranks_per_node", "runner", "store", "timeout", "transport",
    )  # fmt: skip

    def __init__(
        self,
        ranks: Sequence[int],
        transport: Transport,
        runner: Runner,
        *,
        played: Sequence[int],
        rows: Sequence[int],
        num_local: int,
        labels: GroupLabels,
        ranks_per_node: int,
        number: int = 0,
    ) -> None:
        """``played[i]`` is a group rank that this process plays, ``rows[i]`` its row of a tensor's ``num_local``."""
        self.ranks = tuple(ranks)
        """Global ranks of the members; the index is the group rank."""
        self.transport = transport
        self.runner = runner
        self.played = played
        self._rows = _as_slice(rows)
        self.num_local = num_local
        """Ranks of the world that this process plays."""
        self.group_name, self.group_desc, self.backend, self.timeout, self.store = labels
        self.ranks_per_node = ranks_per_node
        self.number = number
        """The number of the group in messages between processes."""
        self.is_open = True

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.group_name!r} of {self.size()} ranks, backend {self.backend!r}>"

    def size(self) -> int:
        """Number of members."""
        return len(self.ranks)

    def rank(self) -> int:
        """Group rank of this process; of the first member it plays if it plays several."""
        return self.played[0]

    def global_rank(self) -> int:
        """Global rank of this process; of the first member it plays if it plays several."""
        return self.ranks[self.played[0]]

    def close(self) -> None:
        """End the group: its collectives raise from now on."""
        self.is_open = False
        self.transport.close()

    def check_root(self, what: str, group_rank: int) -> None:
        """Raise RuntimeError unless ``group_rank`` is a member that the collective ``what`` can have as its root.

        TypeError if it is no whole number.
        """
        if type(group_rank) is not int:
            whole_number(f"root of {what}", group_rank, "int, a rank such as 0")
        if not 0 <= group_rank < self.size():
            raise RuntimeError(f"{what}: invalid root rank: {group_rank}; the group has {self.size()} ranks")

    def _mine(self, shards: Array) -> Array:
        """The rows of the members played here, in group order; a view where indexing allows one."""
        if not self.is_open:
            self._check_open()
        if len(shards) != self.num_local:
            raise ValueError(
                f"the tensor has shards of {len(shards)} ranks, but this process plays {self.num_local}; "
                "its axis 0 must be the ranks, all of the world's, members of the group or not"
            )
        return shards[self._rows]

    def _row_of(self, group_rank: int) -> int:
        return int(np.arange(self.num_local)[self._rows][self.played.index(group_rank)])

    def _check_open(self) -> None:
        if not self.is_open:
            raise ValueError(errors.GROUP_NOT_REGISTERED.format(group=self))


def _as_slice(rows: Sequence[int]) -> slice | Array:
    """``rows`` as a slice if evenly spaced and rising, so that indexing makes a view instead of a copy."""
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    if step > 0 and list(rows) == list(range(rows[0], rows[-1] + 1, step)):
        return slice(rows[0], rows[-1] + 1, step)
    return np.array(rows)
