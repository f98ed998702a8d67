"""The addresses of a rendezvous: the place of the store, the rank of this process, and the size of the world."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.environment_names import STORE, TOKEN, TOKEN_FILE
from fake_torch_dist.meeting.generations import agent_has_store
from fake_torch_dist.meeting.torch_board import store_of_rank_0
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.base import Store
from fake_torch_dist.stores.file_store import FileStore
from fake_torch_dist.stores.own_addresses import is_loopback
from fake_torch_dist.stores.resolving import addresses
from fake_torch_dist.stores.tcp_store import EMPTY_WORLD, TCPStore
from fake_torch_dist.stores.torch_store import TorchStoreError, is_torch_store

# torch 2.13.0
FAILED = "Error initializing torch.distributed using {scheme}:// rendezvous: {reason}"  # ValueError
VARIABLE_MISSING = "environment variable {name} expected, but not set"
BAD_PORT = "port must have value from 0 to 65535 but was {port}."  # ValueError
# Ours
NO_SUCH_RANK = "rank {rank} of a world of {size}: ranks are 0 to {last} (RANK and WORLD_SIZE, or rank and world_size)"
STORE_UNREADABLE = (  # ValueError
    "{name} = {value!r} is no host:port. A launcher sets it to where it serves; unset it to meet at MASTER_PORT"
)
_PING_S: Final = 0.5
"""Seconds in which torch's store answers whether it is one."""
NO_TOKEN: Final = (  # DistNetworkError
    f"{TOKEN} is not set, and MASTER_ADDR = {{host}} can be reached from other hosts: ranks execute what they get from "
    f"each other (pickle), so set it to the same secret for all ranks, or {TOKEN_FILE} to a file that holds it; the "
    "word none is a secret that everybody knows, for networks that are trusted"
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
    """True if fake-torchrun serves a store there, so that rank 0 must not start one."""
    is_agents: bool = False
    """True if TORCHELASTIC_USE_AGENT_STORE is set because a launcher serves a store there, which is torch's or of this
    package."""

    def store(self, timeout: timedelta, *, wait_for_workers: bool) -> Store:
        """The store, which rank 0 starts if no launcher has. Where torch's is, that leads to the store of rank 0.

        DistNetworkError or DistStoreError if ``timeout`` runs out, or something else is at the address.
        """
        if self.port is None:
            return FileStore(self.where, self.world_size)
        through_torch = partial(
            store_of_rank_0, self.where, self.port, self.rank, self.world_size, timeout,
            wait_for_workers=wait_for_workers,
        )  # fmt: skip
        if self.is_agents and is_torch_store(self.where, self.port, _PING_S):
            return through_torch()
        try:
            store = self._own_store(self.port, timeout, wait_for_workers=wait_for_workers)
        except TorchStoreError:
            return through_torch()
        except DistNetworkError as error:
            taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if taken and is_torch_store(self.where, self.port, _PING_S):
                return through_torch()
            raise
        if store.is_master:
            hosted[store.port] = store
        return store

    def _own_store(self, port: int, timeout: timedelta, *, wait_for_workers: bool) -> TCPStore:
        return TCPStore(
            self.where,
            port,
            self.world_size,
            is_master=self.rank == 0 and not self.has_server and not self.is_agents,
            timeout=timeout,
            wait_for_workers=wait_for_workers,
            multi_tenant=True,
        )


hosted: dict[int, TCPStore] = {}
"""Servers that rank 0 started, by port. They run as long as its process: other ranks may meet again before rank 0
does, and must not find a server that is about to end."""


def _failed(scheme: str, reason: str) -> NoReturn:
    raise ValueError(FAILED.format(scheme=scheme, reason=reason))


def query_of(parts: SplitResult) -> dict[str, str]:
    """Return the parameters behind the ``?`` of an address."""
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
    """Raise ValueError for a rank outside of a world of this size, or for a size below 1."""
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
    _check_token(host, world_size)
    return _checked(WorldAddress(host, int(_variable("MASTER_PORT")), rank, world_size, is_agents=agent_has_store()))


def _check_token(host: str, world_size: int) -> None:
    """Raise DistNetworkError if ranks are on several hosts, by LOCAL_WORLD_SIZE, and have no token; fake-torchrun's
    rule for launchers."""
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    if job_token() or not local.isdecimal() or int(local) >= world_size or _is_loopback(host):
        return
    raise DistNetworkError(NO_TOKEN.format(host=host))


def _is_loopback(host: str) -> bool:
    with suppress(OSError):
        return all(is_loopback(address[0]) for _, address in addresses(host, 0))
    return False


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
    masters = os.environ.get("MASTER_PORT") == str(parts.port)
    is_agents = masters and agent_has_store()
    return _checked(WorldAddress(parts.hostname, parts.port, rank, world_size, is_agents=is_agents))


def _file(url: str) -> WorldAddress:
    parts = urlsplit(url)
    if not parts.path:
        _failed("file", "path missing")
    query = query_of(parts)
    return _checked(
        WorldAddress(parts.path, None, _number("file", query, "rank"), _number("file", query, "world_size"))
    )


ADDRESSES: Final = {"env": _env, "tcp": _tcp, "file": _file}
