"""``meet``: the processes of a world exchange contacts and a secret through the store, and connect.

Every rank contributes its contact, rank 0 a random secret besides, and each gets those that it needs; so a process that
can read the store, and no other, can connect. Without a token all of them have to be processes of one user on one host.
In one round over the connections they then agree on whether they can read each other's memory. After that the store is
not needed, except in a world of more than ``SMALL_WORLD`` ranks: there the contact of a rank is asked for when this one
first turns to it.
"""

from __future__ import annotations

import os
import struct
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.environment_names import STORE
from fake_torch_dist.meeting.generations import forget, join
from fake_torch_dist.meeting.rank_values import RankValues
from fake_torch_dist.stores.authentication import job_token, mac
from fake_torch_dist.stores.connected_user import WAY_OUT, foreign_listener
from fake_torch_dist.stores.own_addresses import outer_address, own_address
from fake_torch_dist.stores.prefix_store import PrefixStore
from fake_torch_dist.transports import direct_read
from fake_torch_dist.transports.contacts import Contact, Contacts
from fake_torch_dist.transports.engine import Engine
from fake_torch_dist.transports.peers import Peers
from fake_torch_dist.transports.processes import ProcessTransport

if TYPE_CHECKING:
    from fake_torch_dist.stores import Store

FOREIGN_RANK = f"rank {{rank}} at {{address}} {{reason}}. {WAY_OUT}"  # DistNetworkError

_WORLD: Final = 0
"""The number of the group of all ranks."""
_SECRET_BYTES: Final = 32
_ADDRESS: Final = struct.Struct("<Q")


class Meeting(NamedTuple):
    """The result of ``meet``."""

    engine: Engine
    store: Store
    """Its keys are those of this world only."""
    ranks_per_node: int
    reads_memory: bool


class _RankInfo(NamedTuple):
    """The values that a rank contributes beside its contact."""

    address: int
    """Address, in the memory of the rank, of its contact's name, by which the next rank on the host tests whether it
    can read that memory."""
    secret: bytes = b""
    """The secret of the world; empty for ranks other than 0, as is the next."""
    node: str = ""
    """LOCAL_WORLD_SIZE, or an empty string."""

    def packed(self, contact: Contact) -> bytes:
        """The bytes that ``parse`` reads: those of the contact, then the address, the secret and the node."""
        return contact.packed() + _ADDRESS.pack(self.address) + self.secret + self.node.encode()

    @classmethod
    def parse(cls, data: bytes) -> _RankInfo:
        _, rest = Contact.parse(data)
        (address,) = _ADDRESS.unpack_from(rest)
        rest = rest[_ADDRESS.size :]
        return cls(address, rest[:_SECRET_BYTES], rest[_SECRET_BYTES:].decode())


def meet(store: Store, rank: int, world_size: int, timeout: timedelta) -> Meeting:
    """Meet all ranks. DistStoreError names the ranks that do not arrive; ValueError if a rank has another world size;
    DistNetworkError that one is not of this user and host, and there is no token.
    """
    until = time.monotonic() + timeout.total_seconds()
    direct_read.allow()
    peers = Peers(rank)
    try:
        probe = np.frombuffer(peers.contact.name, np.uint8)
        mine = _RankInfo(direct_read.address_of(probe))
        if rank == 0:
            mine = mine._replace(secret=os.urandom(_SECRET_BYTES), node=os.environ.get("LOCAL_WORLD_SIZE", ""))
        generation = join(store, rank, world_size, timeout, mine.packed(peers.contact), peers.contact.host)
        values, near = generation.values, generation.values.near
        first = _RankInfo.parse(values[0])
        addresses = _addresses(peers, values, generation.store, timeout) if len(near) < world_size else None
        contacts = Contacts(values, addresses)
        if addresses is not None and not job_token():
            _refuse_foreign(contacts)
        peers.meet(contacts, mac(first.secret, job_token()))
        engine = Engine(peers)
        neighbour = near[(near.index(rank) + 1) % len(near)]
        card = _RankInfo.parse(values[neighbour])
        works = direct_read.works(contacts[neighbour].pid, card.address, contacts[neighbour].name)
        reads_memory = _do_all(works, engine, world_size, max(0.001, until - time.monotonic()))
        if rank == 0:
            forget(generation)
    except BaseException:
        peers.close()
        raise
    return Meeting(engine, generation.store, int(first.node or values.num_on_first_host), reads_memory)


def _addresses(peers: Peers, values: RankValues, store: Store, timeout: timedelta) -> RankValues:
    """Listen for ranks on other hosts, and get the addresses at which all ranks listen."""
    place = _meeting_place()
    peers.listen_on(own_address(place) if place else outer_address())
    mine, tcp = peers.contact, PrefixStore("tcp", store)
    return join(tcp, peers.rank, len(values), timeout, mine.tcp.encode(), mine.host).values


def _refuse_foreign(contacts: Contacts) -> None:
    near = frozenset(contacts.near)
    far = [rank for rank in range(len(contacts)) if rank not in near]
    contacts.fetch(far)
    for rank in far:
        address = contacts[rank].tcp
        name, _, port = address.rpartition(":")
        if reason := foreign_listener(name, int(port)):
            raise DistNetworkError(FOREIGN_RANK.format(rank=rank, address=address, reason=reason))


def _do_all(mine: bool, engine: Engine, world_size: int, timeout_s: float) -> bool:
    """True if ``mine`` is true on all ranks. All ranks have connected when this returns."""
    transport = ProcessTransport(engine, range(world_size), _WORLD, world_size, reads_memory=False)
    timeout = timedelta(seconds=timeout_s)
    return bool(engine.run(transport.all_agree(mine, Call("MEET", "", ())), transport.ranks, timeout))


def _meeting_place() -> str:
    """The host at which all ranks meet: of fake-torchrun's store, else MASTER_ADDR; empty if neither is set."""
    host = os.environ.get(STORE, "").rpartition(":")[0] or os.environ.get("MASTER_ADDR", "")
    return host.removeprefix("[").removesuffix("]")
