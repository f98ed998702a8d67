"""Order of calls after asynchronous work on a group: barriers, further collectives, messages, the end of the group."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values


def reduced(arrays, size):
    return [bool((each == sum(range(size)) + size * index).all()) for index, each in enumerate(arrays)]


@pytest.mark.parametrize("elements", [3, 20_000], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["barrier", "async barrier", "monitored_barrier", "destroy"])
def test_what_ends_after_earlier_work_of_the_group(kind, elements):
    def body(rank):
        arrays = [np.full(elements, float(rank + index)) for index in range(8)]
        for each in arrays:
            dist.all_reduce(each, async_op=True)
        if kind == "barrier":
            dist.barrier()
        elif kind == "async barrier":
            works = [dist.barrier(async_op=True), dist.barrier(async_op=True)]
            works[1].wait()
        elif kind == "monitored_barrier":
            dist.monitored_barrier()
        else:
            dist.destroy_process_group()
        return reduced(arrays, 3)

    assert values(ranks(body, 3)) == [[True] * 8] * 3


def test_a_barrier_ends_after_the_earlier_work_of_all_members():
    """Rank 1 brings the last part of rank 0's work, late, and rank 0 sees it done after the barrier."""

    def body(rank):
        pair = dist.new_group([0, 1])
        x = np.full(50_000, rank + 1.0)
        work = dist.all_reduce(x, async_op=True, group=pair) if rank < 2 else None
        if rank == 1:
            time.sleep(0.05)
        if rank < 2:
            dist.barrier(pair)
        return work is None or (work.is_completed() and x[-1] == 3)

    assert values(ranks(body, 3)) == [True] * 3


def test_a_barrier_does_not_wait_for_other_groups_or_messages():
    def body(rank):
        other, buffer = dist.new_group(), np.zeros(1)
        if rank == 0:
            works = [dist.all_reduce(np.zeros(1), group=other, async_op=True), dist.irecv(buffer, 1)]
            dist.barrier()
            late = [work.is_completed() for work in works]
            dist.send(buffer, 1)
            for work in works:
                work.wait()
            return late
        dist.barrier()
        dist.recv(buffer, 0)
        dist.all_reduce(np.zeros(1), group=other)
        dist.send(buffer, 0)
        return None

    assert values(ranks(body, 2))[0] == [False, False]


def test_a_barrier_after_work_that_fails():
    def body(rank):
        work = dist.all_reduce(np.zeros(2 + rank), async_op=True)
        dist.barrier()
        with pytest.raises(dist.DistBackendError, match="mismatch"):
            work.wait()
        x = np.ones(1)
        dist.all_reduce(x)
        return x[0]

    assert values(ranks(body, 2)) == [2, 2]


@pytest.mark.parametrize("absent", [0, 1])
def test_a_barrier_whose_earlier_work_waits_for_an_absent_rank_ends_in_its_own_time(absent):
    """All members that came hear of it, whether the group's first rank is among them or not."""

    def body(rank):
        meeting = dist.new_group()
        found = ""
        if rank != absent:
            dist.all_reduce(np.zeros(3), async_op=True)
            started = time.monotonic()
            with pytest.raises(dist.DistBackendError) as caught:
                dist.barrier(timeout=timedelta(seconds=0.3))
            assert time.monotonic() - started < 8
            found = str(caught.value)
        dist.barrier(meeting)
        return found

    found = values(ranks(body, 3))
    assert found.pop(absent) == ""
    assert all(f"rank {absent}" in text for text in found), found


def test_works_begun_in_one_order_match_however_they_are_waited_for():
    def body(rank):
        arrays = [np.full(n, float(rank)) for n in (4, 30_000, 5, 60_000, 6)]
        works = [
            dist.all_reduce(arrays[0], async_op=True),
            dist.broadcast(arrays[1], 1, async_op=True),
            dist.all_reduce(arrays[2], dist.ReduceOp.MAX, async_op=True),
            dist.all_reduce(arrays[3], async_op=True),
        ]
        dist.all_reduce(arrays[4])  # waits while the others are in flight
        for index in {0: (0, 1, 2, 3), 1: (3, 2, 1, 0), 2: (2, 0, 3, 1)}[rank]:
            works[index].wait()
        return [each[-1] for each in arrays]

    assert values(ranks(body, 3)) == [[3, 1, 2, 3, 3]] * 3


def test_messages_are_received_in_the_order_sent_by_receives_in_the_order_begun():
    def body(rank):
        if rank:
            for value in range(6):
                dist.isend(np.full(20_000 if value % 2 else 1, float(value)), 0)
            dist.barrier()
            return None
        buffers = [np.zeros(20_000 if value % 2 else 1) for value in range(6)]
        works = [dist.irecv(each, 1) for each in buffers]
        for work in reversed(works):
            work.wait()
        dist.barrier()
        return [each[-1] for each in buffers]

    assert values(ranks(body, 2))[0] == [0, 1, 2, 3, 4, 5]


def test_destroying_waits_for_a_member_that_comes_late():
    def body(rank):
        x = np.full(3, rank + 1.0)
        if rank:
            time.sleep(0.3)  # rank 0 is in destroy_process_group meanwhile
            dist.all_reduce(x)
        else:
            work = dist.all_reduce(x, async_op=True)
            dist.destroy_process_group()
            assert work.wait()
        return x.tolist()

    assert values(ranks(body, 2)) == [[3, 3, 3]] * 2
