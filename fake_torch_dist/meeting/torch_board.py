"""Meets ranks that another launcher has started, through the store of torch that it serves at MASTER_PORT.

torchrun, ``accelerate launch`` and torchx serve torch's TCPStore there, and Ray's TorchTrainer has rank 0 serve it. It
is no store of this package, so rank 0 starts one at a free port and leaves its address on torch's, where the others
read it. When all have met, it deletes the address: programs that the ranks start later meet at the same store of torch,
and rank 0 of this meeting may still be there.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import timedelta
from typing import Final

from fake_torch_dist.errors import DistNetworkError, DistStoreError
from fake_torch_dist.launcher.environment_names import TOKEN
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.own_addresses import LOOPBACK, is_loopback, own_address
from fake_torch_dist.stores.tcp_store import TCPStore
from fake_torch_dist.stores.torch_store import delete_value, set_value, wait_for_value
from fake_torch_dist.transports.contacts import host_identity

KEY: Final = b"/fake_torch_dist/store of rank 0"
_ONE_TRY: Final = timedelta(seconds=2)
"""Time in which the address that was read has to answer; it may be that of a rank 0 which has ended."""
NO_ADDRESS = "torch's store at {host}:{port} has {value!r} where rank 0 of fake_torch_dist leaves its address"
NEEDS_TOKEN = (  # DistNetworkError
    "rank 0 is on another host and accepts processes of its own host only. "
    f"Set {TOKEN} to the same secret for all ranks, so that ranks of several hosts can meet"
)

_hosted: dict[tuple[int, str, int], TCPStore] = {}
"""Store of rank 0 by its process and the address of torch's. It exists as long as the process, as other ranks may meet
again before rank 0 does."""
_left: dict[tuple[str, int], float] = {}
"""Stores of torch on which this process has left its address, each with the seconds in which it has to answer."""


def store_of_rank_0(
    host: str, port: int, rank: int, world_size: int, timeout: timedelta, *, wait_for_workers: bool
) -> TCPStore:
    """The store that rank 0 serves, found through torch's store at ``host`` and ``port``.

    DistStoreError if rank 0 does not come within ``timeout``; DistNetworkError if it cannot be reached.
    """
    if rank == 0:
        return _served(host, port, world_size, timeout, wait_for_workers=wait_for_workers)
    until_s = time.monotonic() + timeout.total_seconds()
    while True:
        address = wait_for_value(host, port, KEY, max(0.001, until_s - time.monotonic()))
        left = timedelta(seconds=max(0.001, until_s - time.monotonic()))
        try:
            return _reached(host, port, address, min(_ONE_TRY, left), world_size, wait_for_workers=wait_for_workers)
        except DistStoreError:
            raise
        except DistNetworkError as error:
            if not isinstance(error.__cause__, OSError) or time.monotonic() >= until_s:
                raise


def delete_addresses() -> None:
    """Delete the addresses that this process has left, as all ranks have met. A store that is gone has none."""
    while _left:
        (host, port), timeout_s = _left.popitem()
        with suppress(DistNetworkError):
            delete_value(host, port, KEY, timeout_s)


def _served(host: str, port: int, world_size: int, timeout: timedelta, *, wait_for_workers: bool) -> TCPStore:
    key = (os.getpid(), host, port)
    if key not in _hosted:
        at = own_address(host) if job_token() and _spans_hosts(world_size) else LOOPBACK
        _hosted[key] = TCPStore(at, 0, is_master=True, timeout=timeout, multi_tenant=True)
    store = _hosted[key]
    address = "\n".join((host_identity(), store.host, str(store.port)))
    _left[host, port] = timeout.total_seconds()
    set_value(host, port, KEY, address.encode(), timeout.total_seconds())
    return TCPStore(
        store.host, store.port, world_size, is_master=True, timeout=timeout, wait_for_workers=wait_for_workers,
        multi_tenant=True,
    )  # fmt: skip


def _spans_hosts(world_size: int) -> bool:
    """False if a variable of the launcher states that all ranks are on this host."""
    return os.environ.get("LOCAL_WORLD_SIZE") != str(world_size)


def _reached(
    host: str, port: int, address: bytes, timeout: timedelta, world_size: int, *, wait_for_workers: bool
) -> TCPStore:
    try:
        where, store_host, store_port = address.decode().split("\n")
        number = int(store_port)
        local = is_loopback(store_host)
    except ValueError:
        raise DistNetworkError(NO_ADDRESS.format(host=host, port=port, value=address)) from None
    if local and where != host_identity() and not job_token():
        raise DistNetworkError(NEEDS_TOKEN)
    size = world_size if wait_for_workers else None
    return TCPStore(store_host, number, size, timeout=timeout, wait_for_workers=wait_for_workers)
