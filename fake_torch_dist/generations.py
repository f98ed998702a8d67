"""Generations: every ``init_process_group`` of a job meets under key names of its own.

So what an earlier one left in the store misleads nobody. All ranks join the generation that is open; when the last of
them has joined, it opens the next one and only then lets all go on. So nobody can leave generation g before everybody
is in it, however late they are, and nobody who has left it can come back to it. What this does not do: notice that
somebody joined and died before the others came. Where the store outlives the processes, in a launcher, each restart has
names of its own.
"""

from __future__ import annotations

import os
from datetime import timedelta

from .errors import DistStoreError
from .stores.base import Store
from .stores.prefix_store import PrefixStore
from .stores.tcp_store import CLIENTS_TIMEOUT

SIZES_DIFFER = "rank {rank} came with a world size of {size}, but another rank with {other}"  # ValueError
LATE = "Ranks that did not come: {ranks}."
TWICE = "Ranks that came more than once: {ranks}; do two processes have the same RANK?"


def launcher_has_store() -> bool:
    """Whether the store is a launcher's, so that no rank starts a server."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def join(store: Store, rank: int, world_size: int, timeout: timedelta) -> Store:
    """Join the open generation of ``store``, wait until all ranks have, and return a store of this generation's own.

    Errors: DistStoreError after ``timeout``, with the ranks that did not come; ValueError if another rank has another
    world size.
    """
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if launcher_has_store() else "0"
    generations = PrefixStore(f"rendezvous/{restart}", store)
    number = generations.add("complete", 0)
    meeting = PrefixStore(str(number), generations)
    size = int(meeting.compare_set("world_size", "", str(world_size)))
    if size != world_size:
        raise ValueError(SIZES_DIFFER.format(rank=rank, size=world_size, other=size))
    if meeting.add(f"rank/{rank}", 1) == 1 and meeting.add("joined", 1) == world_size:
        generations.add("complete", 1)  # first, so that whoever goes on and comes again finds the next one
        meeting.set("all", "")
    try:
        meeting.wait(["all"], timeout)
    except DistStoreError as error:
        raise DistStoreError(_who_is_missing(meeting, world_size, timeout)) from error
    return PrefixStore("store", meeting)


def _who_is_missing(meeting: Store, world_size: int, timeout: timedelta) -> str:
    counts = [meeting.add(f"rank/{rank}", 0) for rank in range(world_size)]
    seconds = round(timeout.total_seconds())
    text = CLIENTS_TIMEOUT.format(s=seconds, joined=sum(count > 0 for count in counts), size=world_size)
    missing = ", ".join(str(rank) for rank, count in enumerate(counts) if not count)
    twice = ", ".join(str(rank) for rank, count in enumerate(counts) if count > 1)
    return " ".join([text, LATE.format(ranks=missing), *([TWICE.format(ranks=twice)] if twice else [])])
