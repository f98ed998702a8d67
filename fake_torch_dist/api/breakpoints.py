"""torch's ``breakpoint(rank)``: a debugger on one rank, while the others wait in a barrier."""

from __future__ import annotations

import pdb
import sys
from datetime import timedelta
from types import FrameType
from typing import Any

from fake_torch_dist.api.collectives import barrier
from fake_torch_dist.api.registry import default_group, world

_counts: dict[tuple[str, int], int] = {}
"""Number of calls at each breakpoint, by file and line."""


class _TerminalPdb(pdb.Pdb):
    """pdb that reads the terminal, since multiprocessing gives its children an empty standard input."""

    def interaction(self, *args: Any, **kwargs: Any) -> None:
        before = sys.stdin
        try:
            with open("/dev/stdin") as sys.stdin:
                super().interaction(*args, **kwargs)
        finally:
            sys.stdin = before


def breakpoint(rank: int = 0, skip: int = 0, timeout_s: float | None = 3600) -> None:
    """Stop in pdb on global rank ``rank``; all others wait until it continues. Every rank calls it.

    The first ``skip`` calls at this line do nothing. ``timeout_s`` becomes the timeout of all groups, so that the
    barrier outlasts the session; None leaves them. In the virtual world any rank of the world stops this process.
    """
    caller = sys._getframe(1)
    if _skips(caller, skip):
        return
    group = default_group()
    if timeout_s is not None:
        for each in world.groups.values():
            each.set_timeout(timedelta(seconds=timeout_s))
    if rank in (group.ranks[member] for member in group.played):
        debugger = _TerminalPdb()
        debugger.message(
            f"\n!!! ATTENTION !!!\n\nType 'up' to get to the frame that called dist.breakpoint(rank={rank})\n"
        )
        debugger.set_trace()
    barrier()


def _skips(caller: FrameType, skip: int) -> bool:
    place = caller.f_code.co_filename, caller.f_lineno
    _counts[place] = _counts.get(place, 0) + 1
    return _counts[place] <= skip
