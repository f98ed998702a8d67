"""Groups of two, whose members exchange their parts at once: who is late, who is gone, who calls something else."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist import errors
from fake_torch_dist.distributed_c10d import _get_default_store
from tests.support.worlds import TIMEOUT, ranks, values

SOON = timedelta(milliseconds=300)


def total(value: float) -> float:
    array = np.array([value])
    dist.all_reduce(array)
    return float(array[0])


@pytest.mark.parametrize(("size", "late"), [(2, 0), (2, 1), (3, 0)])
def test_all_learn_that_one_came_late_and_the_group_stays_usable(size, late):
    """The first of three answers the others, as one of a pair does, whose part it had before they gave up."""
    on_time = [rank for rank in range(size) if rank != late]

    def body(rank):
        group, store = dist.new_group(list(range(size)), timeout=SOON), _get_default_store()
        if rank == late:
            store.wait([f"given up {other}" for other in on_time])
        with pytest.raises(errors.TimedOutError) as caught:
            dist.all_reduce(np.ones(1), group=group)
        if rank != late:
            store.set(f"given up {rank}", "")
        total(0.0)
        group.barrier(timeout=TIMEOUT)
        return str(caught.value)

    found = values(ranks(body, size))
    for rank in on_time:
        assert found[rank] == f"Distributed operation: Timed out waiting 300ms for rank {late}"
    assert found[late].endswith(f"rank {late} in time: {on_time} had given up before this rank came")


@pytest.mark.parametrize("late", [0, 1])
def test_a_barrier_that_gives_up_earlier_work_ends_that_of_the_other_member(late):
    def body(rank):
        pair, store = dist.new_group([0, 1], timeout=SOON), _get_default_store()
        if rank == late:
            store.wait(["given up"])
        else:
            work = dist.all_reduce(np.ones(1), group=pair, async_op=True)
            with pytest.raises(errors.TimedOutError):
                dist.barrier(pair)
            store.set("given up", "")
            with pytest.raises(errors.TimedOutError):
                work.wait()
            return total(1.0)
        for call in (lambda: dist.all_reduce(np.ones(1), group=pair), lambda: dist.barrier(pair)):
            with pytest.raises(errors.TimedOutError):
                call()
        return total(1.0)

    assert values(ranks(body, 2)) == [2.0, 2.0]


def test_both_raise_at_once_if_they_call_different_collectives_and_go_on():
    def body(rank):
        with pytest.raises(errors.MismatchError) as caught:
            dist.all_reduce(np.ones(1 + rank))
        return str(caught.value), total(rank + 1.0)

    first, second = values(ranks(body, 2))
    assert first == second
    assert first[0].index("Rank 0 is running collective") < first[0].index("but Rank 1 is running collective")
    assert first[1] == 3.0


@pytest.mark.parametrize("reads_memory", [True, False])
@pytest.mark.parametrize("elements", [3, 50_000])
def test_both_have_the_same_bits_in_rank_order(elements, reads_memory, monkeypatch):
    if not reads_memory:
        monkeypatch.setattr("fake_torch_dist.transports.direct_read.works", lambda *found: False)

    def body(rank):
        x = np.random.default_rng(rank).standard_normal(elements).astype(np.float32)
        dist.all_reduce(x)
        parts = [np.zeros(elements) for _ in range(2)]
        dist.all_gather(parts, np.full(elements, float(rank)))
        from_last = np.full(elements, float(rank))
        dist.broadcast(from_last, 1)
        block = np.zeros(elements)
        dist.reduce_scatter(block, [np.full(elements, 1.0 + k + rank) for k in range(2)])
        return x, [part[-1] for part in parts], from_last[0], block[0]

    first, second = values(ranks(body, 2))
    drawn = [np.random.default_rng(rank).standard_normal(elements).astype(np.float32) for rank in range(2)]
    assert (first[0] == second[0]).all() and (first[0] == drawn[0] + drawn[1]).all()
    assert first[1:3] == second[1:3] == ([0.0, 1.0], 1.0)
    assert (first[3], second[3]) == (3.0, 5.0)
