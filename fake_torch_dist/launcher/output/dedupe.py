r"""Merges identical lines of many ranks into one: ``[ranks 0-62]:line``.

A line waits until every rank that is alive has written it, for a tenth of a second at most. Lines behind it wait, too,
so that each rank's lines stay in order. Nothing is lost: lines that differ are printed separately.

Lines are identical if they differ only in

* the rank's own number where the line names it in its first 100 bytes: ``[Rank 3/64]`` and ``[rank3]:``, which are left
  out because the prefix names the ranks, and ``rank=3`` or ``rank 3``, shown as ``rank=*``;
* the time of day there, as ranks never write in the same millisecond: ``12:34:56``, with its fraction if it has one.

The line that came first is shown, with its time. Process ids, host names and all other figures count as differences.
"""

import re
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter

WINDOW_S = 0.1
MAX_WAITING_LINES = 100_000
"""Most lines that wait. The oldest are released early if there are more, so that slow ranks cannot fill the memory."""
_HEAD_BYTES = 100
_TIME_OF_DAY = re.compile(rb"(?<!\d)\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?!\d)")


class _Group:
    """A line and the ranks that have written it; ``number`` counts groups in the order of their first line."""

    __slots__ = ("deadline_s", "key", "line", "number", "ranks", "said")

    def __init__(self, number: int, key: bytes, line: bytes, said: bytes, deadline_s: float) -> None:
        self.number, self.key, self.deadline_s = number, key, deadline_s
        self.line = line
        """Line as the first rank wrote it."""
        self.said = said
        """The same line without that rank's number."""
        self.ranks: set[int] = set()


_number = attrgetter("number")


class Deduper:
    """Merges the lines of one output. ``prefixes``, of all ranks that will write, are for lines of a single rank."""

    def __init__(
        self,
        prefixes: Mapping[int, bytes],
        *,
        window_s: float = WINDOW_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefixes = dict(prefixes)
        self._alive = set(prefixes)
        self._window_s = window_s
        self._monotonic = monotonic
        self._waiting: deque[_Group] = deque()
        self._by_key: dict[bytes, list[_Group]] = {}
        self._last = dict.fromkeys(prefixes, -1)
        """Number of the group of each rank's last line."""
        self._count = 0
        self._own_number = {rank: _own_number(rank) for rank in prefixes}

    @property
    def deadline_s(self) -> float | None:
        """Time to call ``release``, on the monotonic clock; None if no line waits."""
        return self._waiting[0].deadline_s if self._waiting else None

    def add(self, rank: int, lines: bytes) -> bytes:
        """Take whole lines of a rank, without prefix. Returns the lines that are due."""
        if not lines:
            return b""
        deadline_s = self._monotonic() + self._window_s
        for line in lines.removesuffix(b"\n").split(b"\n"):
            self._add_line(rank, line, deadline_s)
        return self._take(lambda group: self._alive <= group.ranks or len(self._waiting) > MAX_WAITING_LINES)

    def leave(self, rank: int) -> bytes:
        """Stop waiting for a rank, whose stream has ended. Returns the lines that are due."""
        self._alive.discard(rank)
        return self._take(lambda group: self._alive <= group.ranks)

    def release(self) -> bytes:
        """Return the lines that have waited long enough."""
        now_s = self._monotonic()
        return self._take(lambda group: group.deadline_s <= now_s or self._alive <= group.ranks)

    def close(self) -> bytes:
        """Return all lines that wait."""
        return self._take(lambda group: True)

    def _add_line(self, rank: int, line: bytes, deadline_s: float) -> None:
        said = key = line
        head = line[:_HEAD_BYTES]
        named = head.lower().find(b"rank")
        if named >= 0:
            start = max(named - 1, 0)  # the search for a bracket or a word begins with the byte before it
            head = head[:start] + self._own_number[rank].sub(_anonymous, head[start:])
            said = key = head + line[_HEAD_BYTES:]
        if b":" in head:
            key = _TIME_OF_DAY.sub(b"::", head) + line[_HEAD_BYTES:]
        same = self._by_key.get(key)
        if same is None:
            same = self._by_key[key] = []
        # Only groups behind the rank's last line: each rank's lines keep their order.
        last = self._last[rank]
        if not same or same[-1].number <= last:
            group = _Group(self._count, key, line, said, deadline_s)
            self._count += 1
            self._waiting.append(group)
            same.append(group)
        else:
            group = same[0] if same[0].number > last else same[bisect_right(same, last, key=_number)]
        group.ranks.add(rank)
        self._last[rank] = group.number

    def _take(self, is_due: Callable[[_Group], bool]) -> bytes:
        taken: list[bytes] = []
        while self._waiting and is_due(self._waiting[0]):
            group = self._waiting.popleft()
            same = self._by_key[group.key]
            del same[0]  # groups of a key are in order
            if not same:
                del self._by_key[group.key]
            taken.append(self._text(group))
        return b"".join(taken)

    def _text(self, group: _Group) -> bytes:
        if len(group.ranks) > 1:
            return b"[ranks %b]:%b\n" % (_named(frozenset(group.ranks)), group.said)
        return b"%b%b\n" % (self._prefixes[min(group.ranks)], group.line)


@lru_cache(maxsize=256)
def _named(ranks: frozenset[int]) -> bytes:
    """The numbers of ranks as the prefix shows them; most lines come from the same few sets of ranks."""
    return ranges(ranks).encode()


def _own_number(rank: int) -> re.Pattern[bytes]:
    number = str(rank).encode()
    return re.compile(rb"\[rank ?%b(?:/\d+)?\]:? ?|(\brank[ =:]{0,2})%b(?![\d.])" % (number, number), re.IGNORECASE)


def _anonymous(found: re.Match[bytes]) -> bytes:
    return found[1] + b"*" if found[1] else b""


def ranges(ranks: Iterable[int]) -> str:
    """Return ranks in order, with neighbours as a range: ``0-3,7``."""
    spans: list[list[int]] = []
    for rank in sorted(ranks):
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    return ",".join(_span(span) for span in spans)


def _span(span: Sequence[int]) -> str:
    first, last = span
    return str(first) if first == last else f"{first}-{last}"
