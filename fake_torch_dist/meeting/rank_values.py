"""``RankValues``: the values of the ranks of a generation, of which a rank of a large world has few at first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import overload

from fake_torch_dist.errors import DistError
from fake_torch_dist.stores.gatherings import Gathered

GONE = "the values of ranks {ranks} cannot be had from the store in which all ranks met: {reason}"  # ConnectionError


class RankValues(Sequence[bytes]):
    """The value of each rank, in rank order. Those that are not here are fetched on access, which may raise
    ConnectionError."""

    def __init__(self, size: int, found: Gathered, fetch: Callable[[Sequence[int]], Sequence[bytes]]) -> None:
        self._size = size
        self._known = found.values
        self._fetch: Callable[[Sequence[int]], Sequence[bytes]] | None = fetch
        self.near = found.near
        """The ranks of this rank's host, in order; a range if they follow each other."""
        self.num_on_first_host = found.num_on_first_host
        """Number of the ranks on the host of rank 0."""

    @classmethod
    def of_table(cls, table: Sequence[bytes], host: bytes) -> RankValues:
        """The values of a table, in which each follows the name of its rank's host; ``host`` is this rank's."""
        length = len(host)
        near = [rank for rank, each in enumerate(table) if each.startswith(host)]
        follow = near[-1] - near[0] == len(near) - 1
        first = sum(each.startswith(table[0][:length]) for each in table)
        found = Gathered(0, range(near[0], near[-1] + 1) if follow else near, first, {})
        return cls(len(table), found, lambda ranks: [table[rank][length:] for rank in ranks])

    def fetch(self, ranks: Collection[int]) -> None:
        """Fetch the values of these ranks that are not here, with one request."""
        missing = [rank for rank in ranks if rank not in self._known]
        if not missing:
            return
        if self._fetch is None:
            raise ConnectionError(GONE.format(ranks=missing, reason="this process has left the world"))
        try:
            values = self._fetch(missing)
        except DistError as error:
            raise ConnectionError(GONE.format(ranks=missing, reason=error)) from error
        self._known.update(zip(missing, values, strict=True))

    def close(self) -> None:
        """Let go of the store: values that are not here stay unknown."""
        self._fetch = None

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        ranks = range(self._size)[index]
        if isinstance(ranks, range):
            self.fetch(ranks)
            return [self._known[rank] for rank in ranks]
        self.fetch([ranks])
        return self._known[ranks]
