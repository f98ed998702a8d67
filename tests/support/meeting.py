"""Processes that meet at an address or in a store, for the tests of how they do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fake_torch_dist.meeting.generations import join
from fake_torch_dist.meeting.handlers import find_store
from fake_torch_dist.stores import Store

SOON = timedelta(seconds=5)
SHORT = timedelta(milliseconds=300)
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def resolve(
    method: str | None, rank: int, size: int, store: Store | None, timeout: timedelta
) -> tuple[Store, int, int]:
    """Find the store and join: a generation's store, rank, world size."""
    found, rank, size = find_store(method, rank, size, store, timeout)
    return join(found, rank, size, timeout).store, rank, size


def forked(body: Callable[[int], Any], rank: int) -> int:
    """Run ``body(rank)`` in a child; its process id. It ends with status 0 if ``body`` does not raise."""
    child = os.fork()
    if child:
        return child
    try:
        body(rank)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"rank {rank}: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def ranks(body: Callable[[int], Any], size: int) -> None:
    """Run ``body(rank)`` in ``size`` processes; all must end well within ten seconds."""
    children = [forked(body, rank) for rank in range(size)]
    deadline = time.monotonic() + 10
    codes = []
    for child in children:
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                for other in children[len(codes) :]:
                    os.kill(other, 9)
                    os.waitpid(other, 0)
                pytest.fail("the ranks did not end")
            time.sleep(0.002)
        codes.append(done[1])
    assert codes == [0] * size
