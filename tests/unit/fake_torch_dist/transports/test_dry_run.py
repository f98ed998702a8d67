"""Backend "fake": one rank of any world, alone, as torch means it."""

from __future__ import annotations

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values


@pytest.fixture
def alone():
    """Rank 3 of 8."""
    dist.init_process_group("fake", rank=3, world_size=8)
    yield
    dist.destroy_process_group()


def test_a_rank_of_a_large_world_starts_at_once_and_meets_nobody():
    dist.init_process_group("fake", rank=70_000, world_size=100_000, store=dist.HashStore())
    try:
        assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (70_000, 100_000, "fake")
        dist.barrier()
    finally:
        dist.destroy_process_group()
    assert not dist.is_initialized()


def test_reductions_and_broadcasts_leave_the_array(alone):
    x = np.array([1.0, 2.0])
    dist.all_reduce(x)
    dist.all_reduce(x, op=dist.ReduceOp.AVG)
    dist.broadcast(x, 0)
    dist.reduce(x, 3)
    with pytest.warns(FutureWarning):
        dist.all_reduce_coalesced([x])
    work = dist.all_reduce(x, async_op=True)
    assert (x.tolist(), work.wait(), work.result()[0] is x) == ([1, 2], True, True)


def test_what_should_come_from_others_is_this_ranks_own(alone):
    outs, flat, swapped = [np.zeros(1) for _ in range(8)], np.zeros(8), np.zeros(8)
    dist.all_gather(outs, np.array([5.0]))
    dist.all_gather_single(flat, np.array([6.0]))
    dist.all_to_all_single(swapped, np.arange(8.0))
    assert ([out.item() for out in outs], flat.tolist(), swapped.tolist()) == ([5] * 8, [6] * 8, list(range(8)))
    block, part, given = np.zeros(1), np.zeros(1), np.array([4.0])
    dist.reduce_scatter_single(block, np.arange(8.0), op=dist.ReduceOp.AVG)
    dist.reduce_scatter(part, [np.array([rank * 2.0]) for rank in range(8)])
    dist.scatter(given, None, src=0)
    assert (block.item(), part.item(), given.item()) == (3, 6, 4)
    dist.scatter(given, [np.array([rank * 3.0]) for rank in range(8)], src=3)
    objects = [None] * 8
    dist.all_gather_object(objects, {"rank": 3})
    assert (given.item(), objects) == (9, [{"rank": 3}] * 8)


def test_messages_go_nowhere(alone):
    x = np.array([1.0])
    dist.send(x, 0)
    assert (dist.recv(x, 2), x.item()) == (2, 1)
    works = dist.batch_isend_irecv([dist.P2POp(dist.isend, x, 0), dist.P2POp(dist.irecv, x, 1)])
    assert all(work.wait() for work in works)
    for call in (lambda: dist.broadcast_object_list([1], src=0), lambda: dist.recv_object_list([1], src=0)):
        with pytest.raises(dist.DistBackendError, match="backend 'fake' sends nothing"):
            call()


def test_groups_of_it(alone):
    group = dist.new_group([1, 3])
    assert (group.rank(), group.name(), dist.new_group([0, 1])) == (1, "fake", dist.GroupMember.NON_GROUP_MEMBER)
    mine, others = dist.new_subgroups(4)
    assert (mine.ranks, len(others)) == ((0, 1, 2, 3), 2)
    with pytest.raises(ValueError, match="backend 'gloo' needs the other ranks' processes"):
        dist.new_group([1, 3], backend="gloo")


def test_a_group_of_it_in_a_world_of_processes():
    def body(rank):
        group = dist.new_group([0, 1], backend="fake")
        x, y = np.array([1.0]), np.array([1.0])
        dist.all_reduce(x, group=group)
        dist.all_reduce(y)
        return x.item(), y.item(), dist.get_backend(group), group.rank()

    assert values(ranks(body, 2)) == [(1, 2, "fake", 0), (1, 2, "fake", 1)]


@pytest.mark.parametrize("arguments", [{}, {"rank": 0}, {"rank": 8, "world_size": 8}, {"world_size": 8}])
def test_it_needs_a_rank_of_a_world(arguments):
    with pytest.raises(RuntimeError, match=r"where rank \(-?\d\) >= world_size"):
        dist.init_process_group("fake", **arguments)
    assert not dist.is_initialized()


def test_the_virtual_world_has_none(virtual):
    virtual(2)
    with pytest.raises(ValueError, match="this process plays all ranks of the virtual world"):
        dist.new_group([0], backend="fake")
