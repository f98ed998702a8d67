"""Processes that meet at an address or in a store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from fake_torch_dist.meeting.generations import join
from fake_torch_dist.meeting.handlers import find_store
from fake_torch_dist.stores import Store
from tests.support.processes import exit_codes

SOON = timedelta(seconds=5)
SHORT = timedelta(milliseconds=300)
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def resolve(
    method: str | None, rank: int, size: int, store: Store | None, timeout: timedelta
) -> tuple[Store, int, int]:
    """Find the store and join: a generation's store, rank, world size."""
    found, rank, size = find_store(method, rank, size, store, timeout)
    return join(found, rank, size, timeout).store, rank, size


def ranks(body: Callable[[int], Any], size: int) -> None:
    """Run ``body(rank)`` in ``size`` processes; all must end without an error within ten seconds."""
    assert exit_codes(*(partial(body, rank) for rank in range(size)), deadline_s=10) == [0] * size
