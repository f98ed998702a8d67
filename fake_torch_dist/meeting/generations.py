"""Generations: every ``init_process_group`` of a job uses key names of its own.

So values that an earlier one left in the store cannot be mistaken for new ones. All ranks join the open generation,
each with a value for the others; when the last of them has joined, the next generation is opened, and only then
``join`` returns. So no rank leaves generation g before all are in it, and none that has left can join it again. With a
TCPStore that is one request; other stores take half a dozen. Where the store outlives the processes, in a launcher,
each restart has key names of its own.

What this module does not do: notice that a rank has joined and died before the others joined.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.launcher.environment_names import RESTART_COUNT, STORE, USE_AGENT_STORE
from fake_torch_dist.meeting.rank_values import RankValues
from fake_torch_dist.stores.base import Store
from fake_torch_dist.stores.gatherings import SIZES_DIFFER
from fake_torch_dist.stores.messages import Kind, Message, decode, encode
from fake_torch_dist.stores.prefix_store import PrefixStore
from fake_torch_dist.stores.tcp_store import CLIENTS_TIMEOUT, TCPStore

LATE = "Ranks that did not come: {ranks}."
TWICE = "Ranks that came more than once: {ranks}; do two processes have the same RANK?"

_FETCH: Final = timedelta(seconds=60)
"""The longest wait for values that a rank asks for after it has joined."""
_TABLE: Final = "what all brought"
"""The key of all values in a store without gatherings."""


def agent_has_store() -> bool:
    """True if a launcher runs a server at MASTER_PORT, as torchrun does, so that no rank starts one."""
    return os.environ.get(USE_AGENT_STORE) == "True"


class Generation(NamedTuple):
    """The store and the values that all ranks of one ``init_process_group`` share."""

    store: Store
    """Its keys are those of this generation only."""
    values: RankValues


def join(
    store: Store, rank: int, world_size: int, timeout: timedelta, value: bytes = b"", host: bytes = b""
) -> Generation:
    """Join the open generation of ``store`` with ``value`` and wait until all ranks have.

    ``host`` has one length for all ranks and is equal for those of one host.
    Errors: DistStoreError after ``timeout``, with the ranks that did not come; ValueError if another rank has another
    world size.
    """
    of_launcher = agent_has_store() or STORE in os.environ
    restart = os.environ.get(RESTART_COUNT, "0") if of_launcher else "0"
    generations = PrefixStore(f"rendezvous/{restart}", store)
    server, prefix = _server_of(generations)
    if server is None:
        own, table = _join_by_keys(generations, rank, world_size, timeout, host + value)
        return Generation(own, RankValues.of_table(table, host))
    key = prefix.encode("utf-8", "surrogateescape")
    try:
        found = server.gather(key, rank, world_size, value, host, timeout)
    except DistStoreError as error:
        raise DistStoreError(_text_of_missing(server.gather_counts(key), world_size, timeout)) from error
    values = RankValues(world_size, found, lambda ranks: server.gathered(key, found.number, ranks, _FETCH))
    return Generation(PrefixStore(f"{found.number}/store", generations), values)


def _server_of(store: Store) -> tuple[TCPStore | None, str]:
    """The TCPStore under any PrefixStores, and their prefixes; None for another kind of store or a subclass."""
    prefix = ""
    while type(store) is PrefixStore:
        prefix = store.prefix + prefix
        store = store.underlying_store
    return (store if type(store) is TCPStore else None), prefix


def _join_by_keys(
    generations: PrefixStore, rank: int, world_size: int, timeout: timedelta, value: bytes
) -> tuple[Store, Sequence[bytes]]:
    """Join with operations that any store has; the last rank to join puts the values together."""
    meeting = PrefixStore(str(generations.add("complete", 0)), generations)
    size = int(meeting.compare_set("world_size", "", str(world_size)))
    if size != world_size:
        raise ValueError(SIZES_DIFFER.format(rank=rank, size=world_size, other=size))
    own = PrefixStore("store", meeting)
    meeting.set(f"value/{rank}", value)
    if meeting.add(f"rank/{rank}", 1) == 1 and meeting.add("joined", 1) == world_size:
        names = [f"value/{other}" for other in range(world_size)]
        table = encode(Message(Kind.DONE, 0, meeting.multi_get(names)))
        generations.add("complete", 1)  # first, so that a rank that returns and joins again finds the next one
        own.set(_TABLE, table)
        for name in names:
            meeting.delete_key(name)
    try:
        own.wait([_TABLE], timeout)
    except DistStoreError as error:
        counts = {other: meeting.add(f"rank/{other}", 0) for other in range(world_size)}
        raise DistStoreError(_text_of_missing(counts, world_size, timeout)) from error
    return own, decode(own.get(_TABLE)).fields


def forget(generation: Generation) -> None:
    """Delete the ranks' values from the store. One rank calls it, after all have joined."""
    if _server_of(generation.store)[0] is None:
        generation.store.delete_key(_TABLE)


def _text_of_missing(counts: Mapping[int, int], world_size: int, timeout: timedelta) -> str:
    came = {rank: count for rank, count in counts.items() if count}
    seconds = round(timeout.total_seconds())
    text = CLIENTS_TIMEOUT.format(s=seconds, joined=len(came), size=world_size)
    missing = ", ".join(str(rank) for rank in range(world_size) if rank not in came)
    twice = ", ".join(str(rank) for rank in sorted(came) if came[rank] > 1)
    return " ".join([text, LATE.format(ranks=missing), *([TWICE.format(ranks=twice)] if twice else [])])
