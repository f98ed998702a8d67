"""torch's methods of a ProcessGroup: each begins a collective and returns a Work; roots are group ranks."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist.core import collective_options as options
from tests.support.worlds import ranks, values


def full(*numbers: float) -> np.ndarray:
    return np.array(numbers, float)


def test_a_barrier_is_begun_by_one_and_waits_for_the_other():
    def body(rank):
        if rank == 1:
            time.sleep(0.3)
        work = dist.group.WORLD.barrier()
        early = work.is_completed()
        dist.group.WORLD.barrier(timeout=timedelta(seconds=5)).wait()
        dist.group.WORLD.barrier(dist.BarrierOptions(timeout=timedelta(seconds=5))).wait()
        return isinstance(work, dist.Work), early, work.wait()

    zero, one = values(ranks(body, 2))
    assert zero == (True, False, True)
    assert (one[0], one[2]) == (True, True)


def test_lists_with_options_and_tensors_with_plain_arguments():
    """Both of torch's forms, in a group whose ranks are not the world's."""

    def body(rank):
        group = dist.new_group([1, 2])
        if rank == 0:
            return None
        mine = float(rank)
        x, y, z = full(mine), full(mine), full(mine)
        works = [
            group.allreduce([x]),
            group.allreduce([y], dist.AllreduceOptions(reduceOp=dist.ReduceOp(dist.ReduceOp.MAX))),
            group.allreduce(z, op=dist.ReduceOp.PRODUCT),
        ]
        a, b = full(mine), full(mine)
        options_ = dist.BroadcastOptions()
        options_.rootRank = 1
        works += [group.broadcast([a], options_), group.broadcast(b, 0)]
        outs, flat = [full(0), full(0)], full(0, 0)
        works += [group.allgather([outs], [full(mine)]), group._allgather_base(flat, full(mine))]
        shard, block = full(0), full(0)
        works += [
            group.reduce_scatter([shard], [[full(mine), full(10 * mine)]]),
            group._reduce_scatter_base(block, full(mine, 10 * mine)),
        ]
        for work in works:
            assert work.wait()
        assert works[0].result()[0] is x
        found = [x, y, z, a, b, *outs, flat, shard, block]
        return [each.tolist() for each in found]

    _, one, two = values(ranks(body, 3))
    same = [[3], [2], [2], [2], [1], [1], [2], [1, 2]]
    assert one == [*same, [3], [3]]
    assert two == [*same, [30], [30]]


def test_roots_and_lists_that_only_the_root_brings():
    def body(rank):
        group = dist.group.WORLD
        gathered = [[full(0), full(0)]] if rank == 1 else []
        root = dist.GatherOptions(rootRank=1)
        group.gather(gathered, [full(rank)], root).wait()
        part = full(0)
        group.scatter([part], [[full(5), full(6)]] if rank == 0 else [], dist.ScatterOptions()).wait()
        total = full(rank + 1)
        group.reduce([total], dist.ReduceOptions(rootRank=1, reduceOp=dist.ReduceOp.MAX)).wait()
        swapped, rows = [full(0), full(0)], full(0, 0)
        group.alltoall(swapped, [full(10 * rank), full(10 * rank + 1)]).wait()
        group.alltoall_base(rows, full(10 * rank, 10 * rank + 1), [], []).wait()
        coalesced = [full(1), full(rank)]
        group.allreduce_coalesced(coalesced).wait()
        lists = [[full(0), full(0)], [full(0), full(0)]]
        group.allgather_coalesced(lists, [full(rank), full(rank + 5)]).wait()
        found = [*(gathered[0] if gathered else []), part, *swapped, rows, *coalesced, *lists[0], *lists[1]]
        return [each.tolist() for each in found], total.item() if rank == 1 else None

    zero, one = values(ranks(body, 2))
    assert zero == ([[5], [0], [10], [0, 10], [2], [1], [0], [5], [1], [6]], None)
    assert one == ([[0], [1], [6], [1], [11], [1, 11], [2], [1], [0], [5], [1], [6]], 2)


def test_messages_between_group_ranks():
    def body(rank):
        group = dist.new_group([2, 1], sort_ranks=False)
        if rank == 2:
            group.send([full(7)], 1, 3).wait()
            group.send([full(8)], 1, 0).wait()
        if rank == 1:
            x, y = full(0), full(0)
            group.recv([x], 0, 3).wait()
            work = group.recv_anysource([y], 0)
            work.wait()
            return x.item(), y.item(), work.source_rank()
        return None

    assert values(ranks(body, 3))[1] == (7, 8, 2)


def test_what_a_group_tells_and_how_long_it_waits():
    def body(rank):
        group = dist.group.WORLD
        group.monitored_barrier(timedelta(seconds=5))
        group.get_group_store().set(f"here {rank}", "x")
        group.set_timeout(timedelta(seconds=0.2))
        told = group.name(), group._get_backend_name(), group.bound_device_id
        if rank == 0:
            with pytest.raises(RuntimeError, match="Timed out waiting 200ms for rank 1"):
                group.allreduce([full(1)]).wait()
            dist.group.WORLD.get_group_store().set("given up", "")
        else:
            dist.group.WORLD.get_group_store().wait(["given up"], timedelta(seconds=10))
        return told

    assert values(ranks(body, 2))[0] == ("gloo", "gloo", None)


def test_in_the_virtual_world(virtual):
    virtual(3)
    group = dist.group.WORLD
    x = dist.LocalTensor.from_ranks(np.arange(3.0))
    assert group.allreduce([x]).wait()
    assert group.barrier().wait()
    outs = [dist.LocalTensor.from_ranks(np.zeros(3)) for _ in range(3)]
    assert group.allgather([outs], [dist.LocalTensor.from_ranks(np.arange(3.0))]).result()[2] is outs[2]
    assert (x.item(), [out.item() for out in outs]) == (3, [0, 1, 2])
    with pytest.raises(RuntimeError, match="has no store"):
        group.get_group_store()


def test_wrong_arguments_are_named_at_once(virtual):
    virtual(2)
    group, x = dist.group.WORLD, dist.LocalTensor.from_ranks(np.zeros(2))
    with pytest.raises(RuntimeError, match="list of one tensor is expected"):
        group.allreduce([x, x])
    with pytest.raises(RuntimeError, match="invalid root rank: 7"):
        group.broadcast(x, 7)
    with pytest.raises(TypeError, match="Expected parameter `tensors`"):
        group.allreduce([np.zeros(2)])
    with pytest.raises(TypeError, match="list of tensors"):
        group.allgather(x, x)
    with pytest.raises(TypeError, match="Expected timeout argument"):
        group.barrier(timeout=3)
    with pytest.raises(AttributeError, match="AllreduceOptions has no 'rootRank'"):
        dist.AllreduceOptions().rootRank = 1
    with pytest.raises(TypeError, match="BarrierOptions has no 'reduceOp'"):
        dist.BarrierOptions(reduceOp=dist.ReduceOp.SUM)


def test_option_structs_start_with_torchs_values():
    assert dist.ReduceOptions().rootRank == dist.BroadcastOptions().rootTensor == 0
    assert dist.AllreduceCoalescedOptions().reduceOp == dist.ReduceOp.SUM
    assert dist.AllToAllOptions().timeout == options.UNSET_TIMEOUT < timedelta(0)
