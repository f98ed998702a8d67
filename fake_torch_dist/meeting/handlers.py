"""``rendezvous``, as torch has it, and ``find_store`` for ``init_process_group``.

``env://`` (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), ``tcp://host:port``, ``file:///path``, or a store of the
user's. Rank 0 starts the server, unless TORCHELASTIC_USE_AGENT_STORE is True, which means that a launcher has. Where
torch's store is, which this package does not use, it leads to a server of rank 0 (``torch_board``). With
FAKE_TORCH_DIST_STORE=host:port, ``env://`` is the store at that address, and MASTER_ADDR and MASTER_PORT are ignored.

Every ``init_process_group`` of a job has key names of its own, see ``generations``.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from fake_torch_dist.core.argument_kinds import text, wrong_kind
from fake_torch_dist.meeting.address import ADDRESSES, WorldAddress, check_rank, query_of
from fake_torch_dist.stores.base import Store

Met = tuple[Store, int, int]
"""Store, rank, world size."""

_DEFAULT_TIMEOUT: Final = timedelta(seconds=1800)
"""torch's ``default_pg_timeout``."""

# torch 2.13.0
NO_HANDLER = "No rendezvous handler for {scheme}://"  # RuntimeError
HANDLER_TWICE = "Rendezvous handler for {scheme}:// already registered"  # RuntimeError
NO_AGAIN = "Unable to perform re-rendezvous using {scheme}:// method"  # RuntimeError
SPECIFIC_URL = "The url: {url} has node-specific arguments(rank, world_size) already."  # AssertionError
STORE_AND_METHOD = "Cannot specify both init_method and store."  # AssertionError
STORE_WITHOUT_SIZE = "world_size must be positive if using store"  # AssertionError
STORE_WITHOUT_RANK = "rank must be non-negative if using store"  # AssertionError


# -- torch's -----------------------------------------------------------------------------------------------------------

_handlers: dict[str, Callable[..., Iterator[Met]]] = {}


def register_rendezvous_handler(scheme: str, handler: Callable[..., Iterator[Met]]) -> None:
    """Let ``handler(url, **kwargs)``, a generator of (store, rank, world size), serve ``scheme://`` addresses.

    RuntimeError if a handler does already.
    """
    text("scheme", scheme)
    if not callable(handler):
        raise wrong_kind("handler", "a function of an URL", handler)
    if scheme in _handlers:
        raise RuntimeError(HANDLER_TWICE.format(scheme=scheme))
    _handlers[scheme] = handler


def rendezvous(url: str, rank: int = -1, world_size: int = -1, **kwargs: Any) -> Iterator[Met]:
    """An iterator whose first item is (store, rank, world size); there is no second one (RuntimeError).

    ``rank`` and ``world_size`` other than -1 take precedence over the environment. ``timeout`` is passed to the store.
    Errors, at once: RuntimeError for wrong types and unknown schemes; with the first item: ValueError for a missing or
    wrong value, and whatever the store raises.
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
    query = query_of(parts)
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


# -- the built-in methods ----------------------------------------------------------------------------------------------


def _built_in(scheme: str, address_of: Callable[[str], WorldAddress]) -> Callable[..., Iterator[Met]]:
    def handler(url: str, timeout: timedelta = _DEFAULT_TIMEOUT, **_: Any) -> Iterator[Met]:
        address = address_of(url)
        yield address.store(timeout, wait_for_workers=True), address.rank, address.world_size
        raise RuntimeError(NO_AGAIN.format(scheme=scheme))

    return handler


_BUILT_IN: Final = {scheme: _built_in(scheme, address_of) for scheme, address_of in ADDRESSES.items()}
for _scheme, _serve in _BUILT_IN.items():
    register_rendezvous_handler(_scheme, _serve)


# -- for init_process_group --------------------------------------------------------------------------------------------


def find_store(init_method: str | None, rank: int, world_size: int, store: Store | None, timeout: timedelta) -> Met:
    """The store in which all ranks meet, this process's rank, and the world size. Waits for the store's server only.

    ``timeout`` limits that, and is the returned store's.
    Errors: AssertionError for a store without rank or world size, or beside an ``init_method``; otherwise as
    ``rendezvous``, with ValueError for a rank outside its world.
    """
    if store is not None:
        if init_method is not None:
            raise AssertionError(STORE_AND_METHOD)
        if not isinstance(store, Store):
            raise wrong_kind("store", "Store, such as TCPStore", store)
        if world_size <= 0:
            raise AssertionError(STORE_WITHOUT_SIZE)
        if rank < 0:
            raise AssertionError(STORE_WITHOUT_RANK)
        check_rank(rank, world_size)
    else:
        url = _with_arguments("env://" if init_method is None else init_method, rank, world_size)
        scheme = urlsplit(url).scheme
        handler = _handler(url)
        if handler is _BUILT_IN.get(scheme):  # ``generations.join`` waits, and can name the ranks that are late
            address = ADDRESSES[scheme](url)
            store, rank, world_size = address.store(timeout, wait_for_workers=False), address.rank, address.world_size
        else:
            store, rank, world_size = next(handler(url, timeout=timeout))
            check_rank(rank, world_size)
    store.set_timeout(timeout)
    return store, rank, world_size
