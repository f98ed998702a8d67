"""Messages from rank to rank: order, tags, any source, batches, and what does not fit."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values


def test_messages_keep_their_order_and_find_their_tag():
    def body(rank):
        if rank == 0:
            for value, tag in ((1.0, 7), (2.0, 5), (3.0, 7)):
                dist.send(np.array([value]), 1, tag=tag)
            return None
        x = np.zeros(1)
        return [(dist.recv(x, 0, tag=tag), x.item()) for tag in (5, 7, 7)]

    assert values(ranks(body, 2))[1] == [(0, 2.0), (0, 1.0), (0, 3.0)]


def test_any_source():
    def body(rank):
        x = np.array([rank])
        if rank:
            dist.send(x, 0)
            dist.barrier()
            return None
        found = []
        for _ in range(3):
            source = dist.recv(x)
            found.append((source, x.item()))
        work = dist.irecv(x)
        idle = work.is_completed()
        dist.barrier()
        return sorted(found), idle

    assert values(ranks(body, 4))[0] == ([(1, 1), (2, 2), (3, 3)], False)


def test_both_send_large_messages_head_on():
    def body(rank):
        mine, theirs = np.full(1 << 20, rank, "float32"), np.zeros(1 << 20, "float32")
        dist.send(mine, 1 - rank)
        dist.recv(theirs, 1 - rank)
        return float(theirs.min()), float(theirs.max())

    assert values(ranks(body, 2)) == [(1, 1), (0, 0)]


def test_send_does_not_wait_for_recv():
    def body(rank):
        if rank == 0:
            started = time.monotonic()
            dist.send(np.arange(4.0), 1)
            sent_s = time.monotonic() - started
            dist.barrier()
            return sent_s
        dist.barrier()
        x = np.zeros(4)
        dist.recv(x)
        return x.tolist()

    sent_s, received = values(ranks(body, 2))
    assert sent_s < 1
    assert received == [0, 1, 2, 3]


def test_a_ring_of_batches():
    def body(rank):
        x, y = np.array([rank]), np.array([-1])
        ops = [dist.P2POp(dist.isend, x, (rank + 1) % 3), dist.P2POp(dist.irecv, y, (rank - 1) % 3)]
        works = dist.batch_isend_irecv(ops)
        assert [work.wait() for work in works] == [True, True]
        return y.item(), works[1].source_rank(), works[1].result()[0] is y

    assert values(ranks(body, 3)) == [(2, 2, True), (0, 0, True), (1, 1, True)]


def test_group_ranks_and_groups_do_not_mix():
    def body(rank):
        group = dist.new_group([1, 2])
        x = np.array([rank * 1.0])
        if rank == 1:
            dist.send(np.array([100.0]), 2)
            dist.send(x, group=group, group_dst=1)
        if rank == 2:
            source = dist.recv(x, group=group, group_src=0)
            first = x.item()
            dist.recv(x, 1)
            return source, first, x.item()
        return None

    assert values(ranks(body, 3))[2] == (1, 1.0, 100.0)


def test_what_does_not_fit_says_who_has_what():
    def body(rank):
        if rank == 0:
            dist.send(np.arange(4.0, dtype="float32"), 1)
            dist.send(np.arange(2), 1)
            dist.send(np.arange(6.0).reshape(2, 3), 1)
            return None
        texts = []
        for buffer in (np.zeros(2, "float32"), np.zeros(2, "float64")):
            with pytest.raises(RuntimeError) as caught:
                dist.recv(buffer, 0)
            texts.append(str(caught.value))
        flat = np.zeros(6)
        dist.recv(flat, 0)
        return texts, flat.tolist()

    texts, flat = values(ranks(body, 2))[1]
    assert texts == [
        "rank 0 sent float32 of shape (4,), but rank 1 receives float32 of shape (2,) (tag 0)",
        "rank 0 sent int64 of shape (2,), but rank 1 receives float64 of shape (2,) (tag 0)",
    ]
    assert flat == [0, 1, 2, 3, 4, 5]


def test_a_message_that_never_comes():
    def body(rank):
        quick = dist.new_group(timeout=timedelta(seconds=0.2))
        if rank == 1:
            with pytest.raises(RuntimeError, match="Timed out waiting 200ms for rank 0"):
                dist.recv(np.zeros(1), 0, group=quick)
            with pytest.raises(RuntimeError, match="Timed out waiting 200ms for ranks 0, 2"):
                dist.recv(np.zeros(1), group=quick)
        dist.barrier()

    values(ranks(body, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: dist.send(x), ValueError, "Must specify global_rank or group_rank"),
        (lambda x: dist.send(x, 1, group_dst=1), ValueError, "Can't specify both group_rank and global_rank"),
        (lambda x: dist.send(x, 0), ValueError, "Invalid destination rank: destination rank should not be the same as"),
        (lambda x: dist.recv(x, 0), ValueError, "Invalid source rank: source rank should not be the same as"),
        (lambda x: dist.isend(x, 9), ValueError, "Invalid destination rank: 9; the group has 1 ranks"),
        (lambda x: dist.send(x[::2], 9), ValueError, "Invalid destination"),
        (lambda x: dist.irecv(x[::2]), RuntimeError, "input tensor has to be contiguous"),
        (lambda x: dist.irecv([1.0]), TypeError, "Expected parameter `tensor` of type numpy.ndarray, got list"),
        (lambda x: dist.P2POp(dist.send, x, 1), ValueError, "Invalid ``op``. Expected ``op`` to be of type"),
        (lambda x: dist.batch_isend_irecv([1]), ValueError, "Invalid ``p2p_op_list``"),
        (lambda x: dist.batch_isend_irecv([]), IndexError, "list index"),
    ],
)
def test_wrong_arguments(call, error, text):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(error, match=text):
            call(np.zeros(4))
    finally:
        dist.destroy_process_group()


def test_the_virtual_world_has_no_messages(virtual):
    virtual(2)
    with pytest.raises(NotImplementedError, match="point to point has no meaning in the virtual world"):
        dist.send(dist.LocalTensor.from_ranks(np.zeros(2)), 1)


def test_operations_name_their_peer_in_one_of_two_ways():
    def body(rank):
        group = dist.new_group([2, 0], sort_ranks=False)
        x = np.zeros(3, np.float32)
        if rank == 1:
            outside = dist.P2POp(dist.isend, x, 0, group)
            with pytest.warns(UserWarning, match="Running isend on global rank 1"):
                assert dist.batch_isend_irecv([outside]) == []
            return repr(outside)
        with pytest.raises(ValueError, match="Must specify global_rank or group_rank"):
            dist.P2POp(dist.isend, x)
        with pytest.raises(ValueError, match="Can't specify both"):
            dist.P2POp(dist.isend, x, 0, group_peer=0)
        with pytest.raises(ValueError, match="Global rank 1 is not part of group"):
            dist.P2POp(dist.isend, x, 1, group)
        op = dist.P2POp(dist.irecv, x, group_peer=0, group=group)
        return op.peer, op.group_peer, dist.P2POp(dist.isend, x, 2, group).group_peer, repr(op)

    zero, one, _ = values(ranks(body, 3))
    assert one == "P2POp(isend pg=-100, group_src=-1, group_dst=None,  (3,), float32)"
    assert zero == (2, 0, 0, "P2POp(irecv pg=1, group_src=0, group_dst=1,  (3,), float32)")


def test_messages_from_outside_of_the_group():
    def body(rank):
        group, x = dist.new_group([0]), np.zeros(1)
        if rank == 0:
            return None
        for call in (
            lambda: dist.send(x, 0, group),
            lambda: dist.send_object_list([1], 0, group),
            lambda: dist.recv_object_list([1], 0, group),
        ):
            with pytest.raises(ValueError, match=r"^Invalid process group specified$"):
                call()
        with pytest.warns(UserWarning, match="Running irecv on global rank 1"):
            received = dist.recv(x, 0, group)
        with pytest.warns(UserWarning, match="Running isend on global rank 1"):
            return received, dist.isend(x, 0, group)

    assert values(ranks(body, 2))[1] == (-1, None)


def test_a_blocking_receive_takes_what_comes_after_an_earlier_one_that_still_waits():
    def body(rank):
        if rank == 0:
            dist.barrier()
            for value in (1.0, 2.0, 3.0):
                dist.send(np.array([value]), 1)
            return None
        first, second, third = np.zeros(1), np.zeros(1), np.zeros(1)
        work = dist.irecv(first, 0)
        dist.barrier()
        dist.recv(second, 0)
        dist.recv(third)
        work.wait()
        return [first.item(), second.item(), third.item()]

    assert values(ranks(body, 2))[1] == [1.0, 2.0, 3.0]


def test_a_blocking_receive_of_any_source_and_of_other_shapes_and_dtypes():
    def body(rank):
        arrays = [np.arange(6).reshape(2, 3), np.array(1.5), np.zeros((0, 4)), np.array([True, False]), np.array([2j])]
        if rank:
            for array in arrays:
                dist.send(array, 0)
            return None
        found = []
        for array in arrays:
            into = np.zeros_like(array)
            dist.recv(into)
            found.append(bool(np.array_equal(into, array)))
        return found

    assert values(ranks(body, 2))[0] == [True] * 5


def test_a_blocking_receive_that_nobody_answers_ends_with_the_timeout_of_its_group():
    def body(rank):
        group = dist.new_group(timeout=timedelta(seconds=0.2))
        caught = None
        if rank == 0:
            with pytest.raises(dist.DistError) as found:
                dist.recv(np.zeros(1), 1, group=group)
            caught = type(found.value).__name__, "1" in str(found.value)
        dist.barrier()
        return caught

    assert values(ranks(body, 2))[0] == ("TimedOutError", True)
