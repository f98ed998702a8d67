"""How the processes of a world find each other: contacts and a secret, exchanged through the store.

Every rank leaves its contact in the store; rank 0 collects them and publishes the table, in which it puts a random
secret, so that who can read the store, and nobody else, can connect. After that the store is not needed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import struct
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from . import errors
from .engine import Engine
from .fingerprint import Call
from .peers import Peers
from .transports import direct_read
from .transports.processes import ProcessTransport
from .wire import Contact

if TYPE_CHECKING:
    from .stores import Store

_WORLD: Final = 0
"""The number of the group that everyone is in."""


class Meeting(NamedTuple):
    """A world whose processes know each other."""

    engine: Engine
    ranks_per_node: int
    reads_memory: bool


def meet(store: Store, rank: int, world_size: int, timeout: timedelta) -> Meeting:
    """Meet all ranks. ``store`` has key names of this meeting only. DistStoreError names who does not come."""
    exchange = _Exchange(store, rank, world_size, timeout)
    peers = Peers(rank)
    try:
        mine = {"contact": peers.contact.text().decode(), "node": os.environ.get("LOCAL_WORLD_SIZE", "")}
        if rank == 0:
            mine["secret"] = os.urandom(32).hex()
        everyone = exchange.all_gather("contact", mine)
        contacts = [Contact.parse(entry["contact"].encode()) for entry in everyone]
        if len({contact.host for contact in contacts}) > 1:
            peers.listen_on(_address_towards(os.environ.get("MASTER_ADDR", "")))
            tcp = exchange.all_gather("tcp", {"tcp": peers.contact.tcp})
            contacts = [contact._replace(tcp=entry["tcp"]) for contact, entry in zip(contacts, tcp, strict=True)]
        token = os.environ.get("FAKE_TORCH_DIST_TOKEN", "").encode()
        peers.meet(contacts, hmac.digest(bytes.fromhex(everyone[0]["secret"]), token, hashlib.sha256))
        on_first_host = sum(contact.host == contacts[0].host for contact in contacts)
        engine = Engine(peers)
        direct_read.allow()
        reads_memory = _memory_is_readable(engine, world_size, timeout)
        exchange.forget("contact", "tcp")
    except BaseException:
        peers.close()
        raise
    return Meeting(engine, int(everyone[0]["node"] or on_first_host), reads_memory)


class _Exchange:
    """All-gathers through the store."""

    def __init__(self, store: Store, rank: int, world_size: int, timeout: timedelta) -> None:
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._timeout = timeout
        self._until = time.monotonic() + timeout.total_seconds()

    def all_gather(self, what: str, mine: dict[str, str]) -> list[Any]:
        """Everybody's ``mine`` in rank order."""
        self._store.set(self._key(what, self._rank), json.dumps(mine).encode())
        if self._rank == 0:
            keys = [self._key(what, rank) for rank in range(self._world_size)]
            self._wait(keys, what)
            table = [json.loads(self._store.get(key)) for key in keys]
            self._store.set(self._key(what, "all"), json.dumps(table).encode())
            return table
        self._wait([self._key(what, "all")], what)
        found = json.loads(self._store.get(self._key(what, "all")))
        assert isinstance(found, list)
        return found

    def forget(self, *names: str) -> None:
        """Rank 0 takes away what was left in the store: everybody has it."""
        for name in names if self._rank == 0 else ():
            for key in (*range(self._world_size), "all"):
                if self._store.check([self._key(name, key)]):
                    self._store.delete_key(self._key(name, key))

    def _key(self, what: str, of: int | str) -> str:
        return f"meeting/{what}/{of}"

    def _wait(self, keys: list[str], what: str) -> None:
        try:
            self._store.wait(keys, timedelta(seconds=max(0.001, self._until - time.monotonic())))
        except (errors.DistStoreError, RuntimeError) as failure:
            ranks = range(self._world_size)
            try:
                absent = [rank for rank in ranks if not self._store.check([self._key(what, rank)])]
            except RuntimeError:
                raise failure from None
            raise errors.DistStoreError(
                errors.RANKS_ABSENT.format(
                    seconds=f"{self._timeout.total_seconds():g}",
                    came=self._world_size - len(absent),
                    size=self._world_size,
                    absent=errors.ranks_text(absent) if absent else "rank 0, which did not say that all have come",
                )
            ) from failure


def _memory_is_readable(engine: Engine, world_size: int, timeout: timedelta) -> bool:
    """Whether every rank can read the memory of its neighbour on its host. All have come when this returns."""
    me, contacts = engine.peers.rank, engine.peers.contacts
    transport = ProcessTransport(engine, range(world_size), _WORLD, world_size, reads_memory=False)
    probe = np.frombuffer(os.urandom(16), np.uint8)
    place = struct.pack("<IQ", engine.peers.contact.pid, direct_read.address_of(probe)) + probe.tobytes()
    places = _run(engine, transport, place, "MEET", timeout)
    near = [rank for rank in range(world_size) if contacts[rank].host == contacts[me].host]
    neighbour = places[near[(near.index(me) + 1) % len(near)]]
    pid, address = struct.unpack_from("<IQ", neighbour)
    works = direct_read.works(pid, address, neighbour[12:])
    flags = _run(engine, transport, bytes([works]), "MEET", timeout)
    return all(flag == b"\1" for flag in flags)


def _run(engine: Engine, transport: ProcessTransport, data: bytes, what: str, timeout: timedelta) -> list[bytes]:
    coroutine = transport.all_gather_bytes(data, Call(what, "", ()))
    task = engine.start(coroutine, transport.ranks, timeout.total_seconds())
    engine.wait(task)
    if task.error:
        raise task.error
    found: list[bytes] = task.result
    return found


def _address_towards(master: str) -> str:
    """This host's address on the way to the master's; loopback if that is, or is not known."""
    try:
        family, _, _, _, address = socket.getaddrinfo(master or "127.0.0.1", 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
