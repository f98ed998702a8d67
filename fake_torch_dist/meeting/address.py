"""The addresses of a rendezvous: the place of the store, the rank of this process, and the size of the world."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from fake_torch_dist.launcher.environment_names import STORE
from fake_torch_dist.meeting.generations import agent_has_store
from fake_torch_dist.stores.base import Store
from fake_torch_dist.stores.file_store import FileStore
from fake_torch_dist.stores.tcp_store import EMPTY_WORLD, TCPStore

# torch 2.13.0
FAILED = "Error initializing torch.distributed using {scheme}:// rendezvous: {reason}"  # ValueError
VARIABLE_MISSING = "environment variable {name} expected, but not set"
BAD_PORT = "port must have value from 0 to 65535 but was {port}."  # ValueError
# Ours
NO_SUCH_RANK = "rank {rank} of a world of {size}: ranks are 0 to {last} (RANK and WORLD_SIZE, or rank and world_size)"
STORE_UNREADABLE = (  # ValueError
    "{name} = {value!r} is no host:port. A launcher sets it to where it serves; unset it to meet at MASTER_PORT"
)
NEGATIVE_WORLD = "world_size = {size}: a world has at least one rank (WORLD_SIZE, or world_size)"


@dataclass(frozen=True, slots=True)
class WorldAddress:
    """A parsed address: host and port of the store, or a path with ``port`` None; rank and world size."""

    where: str
    port: int | None
    rank: int
    world_size: int
    has_server: bool = False
    """True if a launcher runs a server there, so that rank 0 must not start one."""

    def store(self, timeout: timedelta, *, wait_for_workers: bool) -> Store:
        if self.port is None:
            return FileStore(self.where, self.world_size)
        store = TCPStore(
            self.where,
            self.port,
            self.world_size,
            is_master=self.rank == 0 and not self.has_server,
            timeout=timeout,
            wait_for_workers=wait_for_workers,
            multi_tenant=True,
        )
        if store.is_master:
            hosted[store.port] = store
        return store


hosted: dict[int, TCPStore] = {}
"""Servers that rank 0 started, by port. They run as long as its process: other ranks may meet again before rank 0
does, and must not find a server that is about to end."""


def _failed(scheme: str, reason: str) -> NoReturn:
    raise ValueError(FAILED.format(scheme=scheme, reason=reason))


def query_of(parts: SplitResult) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in parts.query.split("&") if pair)}


def _number(scheme: str, query: dict[str, str], name: str) -> int:
    if name not in query:
        _failed(scheme, f"{name.replace('_', ' ')} parameter missing")
    return int(query[name])


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        _failed("env", VARIABLE_MISSING.format(name=name))
    return value


def _checked(address: WorldAddress) -> WorldAddress:
    """Check port and rank. torch checks only the port, and waits if the rank is outside the world."""
    if address.port is not None and not 0 <= address.port < 2**16:
        raise ValueError(BAD_PORT.format(port=address.port))
    check_rank(address.rank, address.world_size)
    return address


def check_rank(rank: int, world_size: int) -> None:
    if world_size == 0:
        raise ValueError(EMPTY_WORLD)
    if world_size < 0:
        raise ValueError(NEGATIVE_WORLD.format(size=world_size))
    if not 0 <= rank < world_size:
        raise ValueError(NO_SUCH_RANK.format(rank=rank, size=world_size, last=world_size - 1))


def _env(url: str) -> WorldAddress:
    query = query_of(urlsplit(url))
    rank = int(query["rank"] if "rank" in query else _variable("RANK"))
    world_size = int(query["world_size"] if "world_size" in query else _variable("WORLD_SIZE"))
    if STORE in os.environ:
        return _checked(WorldAddress(*_launchers_store(os.environ[STORE]), rank, world_size, has_server=True))
    host = _variable("MASTER_ADDR")
    return _checked(WorldAddress(host, int(_variable("MASTER_PORT")), rank, world_size, has_server=agent_has_store()))


def _launchers_store(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        _failed("env", STORE_UNREADABLE.format(name=STORE, value=text))
    return host.removeprefix("[").removesuffix("]"), int(port)


def _tcp(url: str) -> WorldAddress:
    parts = urlsplit(url)
    if parts.port is None:
        _failed("tcp", "port number missing")
    query = query_of(parts)
    rank, world_size = _number("tcp", query, "rank"), _number("tcp", query, "world_size")
    if parts.hostname is None:
        raise AssertionError("hostname cannot be None")
    return _checked(WorldAddress(parts.hostname, parts.port, rank, world_size, has_server=agent_has_store()))


def _file(url: str) -> WorldAddress:
    parts = urlsplit(url)
    if not parts.path:
        _failed("file", "path missing")
    query = query_of(parts)
    return _checked(
        WorldAddress(parts.path, None, _number("file", query, "rank"), _number("file", query, "world_size"))
    )


ADDRESSES: Final = {"env": _env, "tcp": _tcp, "file": _file}
