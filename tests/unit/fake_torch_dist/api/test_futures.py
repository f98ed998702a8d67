"""Futures: of works, of callbacks, and of the user's own."""

from __future__ import annotations

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist import Future
from fake_torch_dist.distributed_c10d import _get_default_store
from tests.support.worlds import ranks, values


def test_callbacks_run_once_the_collective_is_done():
    def body(rank):
        seen, x = [], np.array([1.0])
        if rank == 0:
            future = dist.all_reduce(x, async_op=True).get_future()
            future.add_done_callback(lambda done: seen.append(done.value()[0].item()))
            future.add_done_callback(lambda done: seen.append(done is future))
            early = list(seen)
            dist.send(x, 1)
            future.wait()
            future.add_done_callback(lambda done: seen.append("at once"))
            return early, seen
        dist.recv(np.zeros(1), 0)
        dist.all_reduce(x)
        return None

    assert values(ranks(body, 2))[0] == ([], [2, True, "at once"])


def test_coalesced_collectives_give_a_future_and_read_before_they_write():
    def body(rank):
        with pytest.warns(FutureWarning):
            tensors = [np.array([1.0]), np.array([rank])]
            future = dist.all_reduce_coalesced(tensors, async_op=True)
            same = np.array([rank + 1.0])
            dist.all_reduce_coalesced([same, same])
            outs = [[np.zeros(1), np.zeros(1)] for _ in range(2)]
            aliased = outs[1][0]
            aliased[0] = 10.0 + rank
            gathered = dist.all_gather_coalesced(outs, [aliased, aliased], async_op=True)
        return [x.item() for x in future.wait()], same.item(), [x.item() for x in gathered.wait()]

    assert values(ranks(body, 2)) == [([2, 1], 3, [10, 10, 11, 11])] * 2


@pytest.mark.parametrize("late", range(3))
@pytest.mark.parametrize("size", [2, 3])
def test_coalesced_collectives_take_their_places_in_the_order_when_they_begin(size, late):
    """Also on a rank that comes last, and so has the others' parts of the first tensor at once."""
    if late == size:
        pytest.skip("there is no such rank")

    def body(rank):
        store = _get_default_store()
        if rank == late:
            store.wait([f"begun {other}" for other in range(size) if other != late])
        with pytest.warns(FutureWarning):
            future = dist.all_reduce_coalesced([np.array([1.0]), np.array([2])], async_op=True)
        store.set(f"begun {rank}", "")
        if rank == late:
            future.wait()
        after = np.array([3.0])
        dist.all_reduce(after)
        return [x.item() for x in future.wait()], after.item()

    assert values(ranks(body, size)) == [([size, 2 * size], 3.0 * size)] * size


def test_coalesced_collectives_of_nothing(virtual):
    virtual(2)
    for call in (lambda: dist.all_reduce_coalesced([]), lambda: dist.all_gather_coalesced([[], []], [])):
        with pytest.warns(FutureWarning), pytest.raises(RuntimeError, match="needs at least one tensor"):
            call()


def test_an_error_of_a_callback_is_the_next_futures(virtual, capsys):
    virtual(2)
    future = dist.all_reduce(dist.LocalTensor.from_ranks(np.zeros(2)), async_op=True).get_future()
    failed = future.then(lambda done: 1 / 0)
    text = "Got the following error when running the callback: ZeroDivisionError: division by zero"
    with pytest.raises(RuntimeError, match=text) as caught:
        failed.wait()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(RuntimeError, match=text):
        failed.value()
    future.add_done_callback(lambda done: 1 / 0)
    assert text in capsys.readouterr().err
    with pytest.raises(TypeError, match="3 cannot be called"):
        future.then(3)


def test_a_future_of_the_users():
    future, seen = Future(), []
    future.add_done_callback(lambda done: seen.append(done.value()))
    doubled = future.then(lambda done: done.value() * 2)
    assert not future.done() and not doubled.done()
    for early in (future.value, future.wait):
        with pytest.raises(RuntimeError, match="not done"):
            early()
    future.set_result(4)
    assert (future.done(), future.wait(), seen, doubled.wait()) == (True, 4, [4], 8)
    for again in (lambda: future.set_result(1), lambda: future.set_exception(OSError())):
        with pytest.raises(RuntimeError, match="can only be marked completed once"):
            again()
    broken = Future()
    with pytest.raises(AssertionError, match="not an Exception"):
        broken.set_exception(3)
    broken.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        broken.value()


def test_a_wait_takes_seconds(virtual):
    virtual(2)
    work = dist.barrier(async_op=True, timeout=2.0)
    assert work.wait(1.5)
    with pytest.raises(TypeError, match="Expected timeout argument"):
        dist.barrier(timeout=2)
