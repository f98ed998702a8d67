"""A rank is killed in the middle of a collective: the others are told within a second, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import tempfile
import time

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.processes import until
from tests.support.worlds import initializer, outcomes, ranks

SIZE = 3
LARGE = 200_000


def all_reduce_small():
    return dist.all_reduce(np.zeros(2), async_op=True)


def all_reduce_large():
    return dist.all_reduce(np.zeros(LARGE), async_op=True)


def broadcast():
    return dist.broadcast(np.zeros(LARGE), 1, async_op=True)


def all_gather():
    return dist.all_gather([np.zeros(LARGE) for _ in range(SIZE)], np.zeros(LARGE), async_op=True)


def reduce_scatter():
    return dist.reduce_scatter_single(np.zeros(LARGE), np.zeros(SIZE * LARGE), async_op=True)


def all_to_all():
    parts = [np.zeros(LARGE) for _ in range(SIZE)]
    return dist.all_to_all(parts, [np.zeros(LARGE) for _ in range(SIZE)], async_op=True)


def gather():
    outs = [np.zeros(LARGE) for _ in range(SIZE)] if dist.get_rank() == 0 else None
    return dist.gather(np.zeros(LARGE), outs, async_op=True)


def scatter():
    parts = [np.zeros(LARGE) for _ in range(SIZE)] if dist.get_rank() == 0 else None
    return dist.scatter(np.zeros(LARGE), parts, async_op=True)


def barrier():
    return dist.barrier(async_op=True)


COLLECTIVES = [
    all_reduce_small, all_reduce_large, broadcast, all_gather, reduce_scatter, all_to_all, gather, scatter, barrier,
]  # fmt: skip


@pytest.mark.parametrize("collective", COLLECTIVES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("victim", range(SIZE))
def test_the_others_are_told_who_died(collective, victim):
    def body(rank):
        collective().wait()
        if rank == victim:
            collective()  # has said what it is about to do, and its part if that is small
            os.kill(os.getpid(), signal.SIGKILL)
        texts, took_s = [], 0.0
        began = time.monotonic()
        while len(texts) < 2:  # the first may still be whole without the victim
            try:
                collective().wait()
            except dist.DistBackendError as failure:
                texts.append((type(failure).__name__, str(failure)))
                took_s = time.monotonic() - began if len(texts) == 1 else took_s
        return texts, took_s

    before = left_behind()
    found = ranks(body, SIZE, dead=[victim])
    assert found[victim].signal == signal.SIGKILL
    for rank, outcome in enumerate(found):
        if rank != victim:
            assert outcome.error is None, outcome.error
            texts, took_s = outcome.value
            assert all(kind == "PeerGoneError" and f"rank {victim} is gone" in text for kind, text in texts), texts
            assert took_s < 2  # one, and what a loaded machine adds
    require_nothing_left(before)


def test_a_rank_that_leaves_is_gone_for_those_who_wait_for_it():
    def body(rank):
        if rank == 1:
            dist.destroy_process_group()
            return None
        began = time.monotonic()
        if rank == 2:
            with pytest.raises(dist.DistBackendError, match="rank 1 is gone"):
                dist.recv(np.zeros(1), 1)
        with pytest.raises(dist.DistBackendError, match="rank 1 is gone"):
            dist.barrier()
        return time.monotonic() - began

    found = ranks(body, 3)
    assert all(outcome.error is None for outcome in found), found
    assert found[0].value < 2 and found[2].value < 2


def left_behind():
    """Files that a world could leave: shared memory, sockets. Processes are reaped by the caller, or it hangs."""
    places = [place for place in ("/dev/shm", tempfile.gettempdir()) if os.path.isdir(place)]
    return {name for place in places for name in os.listdir(place) if "fake" in name and "torch" in name}


def require_nothing_left(before):
    """Fail if new files stay: those of tests in other processes are removed by them."""
    new = left_behind() - before
    until(lambda: not new & left_behind(), f"{new} are removed")


@pytest.mark.parametrize("victim", range(SIZE))
def test_who_dies_between_joining_and_meeting_is_named(victim):
    start = initializer(SIZE)

    def body(rank):
        if rank == victim:
            from fake_torch_dist.transports.peers import Peers

            Peers.meet = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # it knows the others, and they know it
        began = time.monotonic()
        with pytest.raises(dist.DistBackendError, match=f"rank {victim} is gone"):
            start(rank)
        assert not dist.is_initialized()
        return time.monotonic() - began

    before = left_behind()
    found = outcomes(body, SIZE, dead=[victim])
    assert found[victim].signal == signal.SIGKILL
    assert all(outcome.value is not None and outcome.value < 2 for outcome in found if not outcome.signal), found
    require_nothing_left(before)


def test_a_death_is_seen_without_a_connection():
    """A group's first rank waits for a member that has never talked to it, and sees the end of its process."""

    def body(rank):
        group = dist.new_group([1, 2])
        if rank == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 0:
            return 0.0
        began = time.monotonic()
        with pytest.raises(dist.DistBackendError, match="rank 2 is gone"):
            dist.barrier(group)
        return time.monotonic() - began

    found = ranks(body, 3, dead=[2])
    assert found[2].signal == signal.SIGKILL
    assert found[1].error is None, found[1].error
    assert found[1].value < 2
