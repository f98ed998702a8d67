"""Where ranks meet: ``rendezvous`` as torch has it, and ``find_store`` for ``init_process_group``.

``env://`` (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), ``tcp://host:port``, ``file:///path``, or a store of the
user's. Rank 0 starts the server, unless TORCHELASTIC_USE_AGENT_STORE is True: then a launcher has. With
FAKE_TORCH_DIST_STORE=host:port, ``env://`` is the store that is there, whatever MASTER_ADDR and MASTER_PORT say.

Every ``init_process_group`` of a job has key names of its own, see ``generations``.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, urlsplit, urlunsplit

from .generations import STORE_VARIABLE, agent_has_store
from .stores.base import Store
from .stores.file_store import FileStore
from .stores.tcp_store import EMPTY_WORLD, TCPStore

Met = tuple[Store, int, int]
"""Store, rank, world size."""

_DEFAULT_TIMEOUT: Final = timedelta(seconds=1800)
"""torch's ``default_pg_timeout``."""

# torch 2.13.0
FAILED = "Error initializing torch.distributed using {scheme}:// rendezvous: {reason}"  # ValueError
VARIABLE_MISSING = "environment variable {name} expected, but not set"
NO_HANDLER = "No rendezvous handler for {scheme}://"  # RuntimeError
HANDLER_TWICE = "Rendezvous handler for {scheme}:// already registered"  # RuntimeError
BAD_PORT = "port must have value from 0 to 65535 but was {port}."  # ValueError
NO_AGAIN = "Unable to perform re-rendezvous using {scheme}:// method"  # RuntimeError
SPECIFIC_URL = "The url: {url} has node-specific arguments(rank, world_size) already."  # AssertionError
STORE_AND_METHOD = "Cannot specify both init_method and store."  # AssertionError
STORE_WITHOUT_SIZE = "world_size must be positive if using store"  # AssertionError
STORE_WITHOUT_RANK = "rank must be non-negative if using store"  # AssertionError

# Ours
NO_SUCH_RANK = "rank {rank} of a world of {size}: ranks are 0 to {last} (RANK and WORLD_SIZE, or rank and world_size)"
STORE_UNREADABLE = (  # ValueError
    "{name} = {value!r} is no host:port. A launcher sets it to where it serves; unset it to meet at MASTER_PORT"
)
NEGATIVE_WORLD = "world_size = {size}: a world has at least one rank (WORLD_SIZE, or world_size)"


# -- torch's ----------------------------------------------------------------------------------------------------------

_handlers: dict[str, Callable[..., Iterator[Met]]] = {}


def register_rendezvous_handler(scheme: str, handler: Callable[..., Iterator[Met]]) -> None:
    """Let ``handler(url, **kwargs)``, a generator of (store, rank, world size), serve ``scheme://`` addresses.

    RuntimeError if somebody does already.
    """
    if scheme in _handlers:
        raise RuntimeError(HANDLER_TWICE.format(scheme=scheme))
    _handlers[scheme] = handler


def rendezvous(url: str, rank: int = -1, world_size: int = -1, **kwargs: Any) -> Iterator[Met]:
    """An iterator whose first item is (store, rank, world size); there is no second one (RuntimeError).

    ``rank`` and ``world_size`` other than -1 go before the environment. ``timeout`` is passed to the store. Errors, at
    once: RuntimeError for wrong types and unknown schemes; with the first item: ValueError for what is missing or
    wrong, and whatever the store raises.
    """
    url = _with_arguments(url, rank, world_size)
    return _handler(url)(url, **kwargs)


def _with_arguments(url: str, rank: int, world_size: int) -> str:
    if not isinstance(url, str | bytes):
        raise RuntimeError(f"`url` must be a string. {type(url)}: {url}")
    if not isinstance(rank, (int, numbers.Integral)):
        raise RuntimeError(f"`rank` must be an integer. {rank}")
    if not isinstance(world_size, (int, numbers.Integral)):
        raise RuntimeError(f"`world_size` must be an integer. {world_size}")
    text = os.fsdecode(url)
    if rank == -1 and world_size == -1:
        return text
    parts = urlsplit(text)
    query = _query(parts)
    if "rank" in query or "world_size" in query:
        raise AssertionError(SPECIFIC_URL.format(url=text))
    for name, value in (("rank", rank), ("world_size", world_size)):
        if value != -1:
            query[name] = str(value)
    return urlunsplit(parts._replace(query="&".join(f"{name}={value}" for name, value in query.items())))


def _handler(url: str) -> Callable[..., Iterator[Met]]:
    scheme = urlsplit(url).scheme
    if scheme not in _handlers:
        raise RuntimeError(NO_HANDLER.format(scheme=scheme))
    return _handlers[scheme]


# -- the three methods ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """What an address says; ``port`` is None if ``where`` is a file."""

    where: str
    port: int | None
    rank: int
    world_size: int
    has_server: bool = False
    """Whether a launcher serves there, so that rank 0 must not."""

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
            _hosted[store.port] = store
        return store


_hosted: dict[int, TCPStore] = {}
"""Servers that rank 0 started, by port. They stay until it ends: the others may be back before it is, and would find
one that is about to go."""


def _failed(scheme: str, reason: str) -> NoReturn:
    raise ValueError(FAILED.format(scheme=scheme, reason=reason))


def _query(parts: SplitResult) -> dict[str, str]:
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


def _checked(place: _Place) -> _Place:
    """torch looks only at the port; it takes a rank beyond the world for a client and waits."""
    if place.port is not None and not 0 <= place.port < 2**16:
        raise ValueError(BAD_PORT.format(port=place.port))
    _check_rank(place.rank, place.world_size)
    return place


def _check_rank(rank: int, world_size: int) -> None:
    if world_size == 0:
        raise ValueError(EMPTY_WORLD)
    if world_size < 0:
        raise ValueError(NEGATIVE_WORLD.format(size=world_size))
    if not 0 <= rank < world_size:
        raise ValueError(NO_SUCH_RANK.format(rank=rank, size=world_size, last=world_size - 1))


def _env(url: str) -> _Place:
    query = _query(urlsplit(url))
    rank = int(query["rank"] if "rank" in query else _variable("RANK"))
    world_size = int(query["world_size"] if "world_size" in query else _variable("WORLD_SIZE"))
    if STORE_VARIABLE in os.environ:
        return _checked(_Place(*_launchers_store(os.environ[STORE_VARIABLE]), rank, world_size, has_server=True))
    host = _variable("MASTER_ADDR")
    return _checked(_Place(host, int(_variable("MASTER_PORT")), rank, world_size, has_server=agent_has_store()))


def _launchers_store(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        _failed("env", STORE_UNREADABLE.format(name=STORE_VARIABLE, value=text))
    return host.removeprefix("[").removesuffix("]"), int(port)


def _tcp(url: str) -> _Place:
    parts = urlsplit(url)
    if parts.port is None:
        _failed("tcp", "port number missing")
    query = _query(parts)
    rank, world_size = _number("tcp", query, "rank"), _number("tcp", query, "world_size")
    if parts.hostname is None:
        raise AssertionError("hostname cannot be None")
    return _checked(_Place(parts.hostname, parts.port, rank, world_size, has_server=agent_has_store()))


def _file(url: str) -> _Place:
    parts = urlsplit(url)
    if not parts.path:
        _failed("file", "path missing")
    query = _query(parts)
    return _checked(_Place(parts.path, None, _number("file", query, "rank"), _number("file", query, "world_size")))


_PLACES: Final = {"env": _env, "tcp": _tcp, "file": _file}


def _built_in(scheme: str, place_of: Callable[[str], _Place]) -> Callable[..., Iterator[Met]]:
    def handler(url: str, timeout: timedelta = _DEFAULT_TIMEOUT, **_: Any) -> Iterator[Met]:
        place = place_of(url)
        yield place.store(timeout, wait_for_workers=True), place.rank, place.world_size
        raise RuntimeError(NO_AGAIN.format(scheme=scheme))

    return handler


_BUILT_IN: Final = {scheme: _built_in(scheme, place_of) for scheme, place_of in _PLACES.items()}
for _scheme, _serve in _BUILT_IN.items():
    register_rendezvous_handler(_scheme, _serve)


# -- for init_process_group -------------------------------------------------------------------------------------------


def find_store(init_method: str | None, rank: int, world_size: int, store: Store | None, timeout: timedelta) -> Met:
    """The store in which all ranks meet, this process's rank, and the world size. Waits for the store's server only.

    ``timeout`` limits that, and is the returned store's.
    Errors: AssertionError for a store without rank or world size, or beside an ``init_method``; otherwise as
    ``rendezvous``, with ValueError for a rank outside its world.
    """
    if store is not None:
        if init_method is not None:
            raise AssertionError(STORE_AND_METHOD)
        if world_size <= 0:
            raise AssertionError(STORE_WITHOUT_SIZE)
        if rank < 0:
            raise AssertionError(STORE_WITHOUT_RANK)
        _check_rank(rank, world_size)
    else:
        url = _with_arguments("env://" if init_method is None else init_method, rank, world_size)
        scheme = urlsplit(url).scheme
        handler = _handler(url)
        if handler is _BUILT_IN.get(scheme):  # ``generations.join`` waits, and knows who is late
            place = _PLACES[scheme](url)
            store, rank, world_size = place.store(timeout, wait_for_workers=False), place.rank, place.world_size
        else:
            store, rank, world_size = next(handler(url, timeout=timeout))
            _check_rank(rank, world_size)
    store.set_timeout(timeout)
    return store, rank, world_size
