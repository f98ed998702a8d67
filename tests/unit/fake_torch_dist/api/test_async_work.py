"""Works: several in flight, waited for in any order, on overlapping groups."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values


def test_works_are_waited_for_in_any_order_on_overlapping_groups():
    def body(rank):
        pair = dist.new_group([0, 1])
        arrays = [np.full(size, rank + 1.0) for size in (3, 40_000, 5, 50_000)]
        works = [dist.all_reduce(x, async_op=True) for x in arrays[:2]]
        if rank < 2:
            works += [dist.all_reduce(x, group=pair, async_op=True) for x in arrays[2:]]
        for work in reversed(works):
            assert work.wait()
        return [x[-1] for x in arrays]

    assert values(ranks(body, 3)) == [[6, 6, 3, 3], [6, 6, 3, 3], [6, 6, 3, 3]]


def test_what_a_work_tells():
    def body(rank):
        x = np.array([1.0])
        if rank == 0:
            work = dist.all_reduce(x, async_op=True)
            early = work.is_completed(), work.is_success(), work.exception()
            future = work.get_future()
            doubled = future.then(lambda done: done.value()[0] * 2)
            after = doubled.then(lambda done: done.wait() + 1)
            early += future.done(), doubled.done()
            dist.send(x, 1)  # lets rank 1 come
            assert work.wait() and work.wait(timedelta(seconds=1))
            late = work.is_completed(), work.is_success(), work.exception(), work.result()[0] is x
            return early, late, doubled.wait().item(), after.value().item(), future.value()[0] is x
        dist.recv(np.zeros(1), 0)
        dist.all_reduce(x)
        return None

    early, late, doubled, after, same = values(ranks(body, 2))[0]
    assert early == (False, False, None, False, False)
    assert late == (True, True, None, True)
    assert (doubled, after, same) == (4, 5, True)


def test_a_wait_of_its_own_may_end_first():
    def body(rank):
        x = np.array([1])
        if rank == 0:
            work = dist.all_reduce(x, async_op=True)
            started = time.monotonic()
            with pytest.raises(RuntimeError, match=r"^Operation timed out!$"):
                work.wait(timedelta(seconds=0.1))
            assert time.monotonic() - started < 5
            dist.send(x, 1)
            work.wait()
        else:
            dist.recv(np.array([0]), 0)
            dist.all_reduce(x)
        return x.item()

    assert values(ranks(body, 2)) == [2, 2]


def test_what_goes_wrong_is_raised_by_wait_and_argument_errors_at_once():
    def body(rank):
        with pytest.raises(TypeError, match="op must be a ReduceOp"):
            dist.all_reduce(np.zeros(2), "sum", async_op=True)
        with pytest.raises(ValueError, match="read-only"):
            frozen = np.zeros(2)
            frozen.flags.writeable = False
            dist.all_reduce(frozen, async_op=True)
        work = dist.all_reduce(np.zeros(2 + rank), async_op=True)
        with pytest.raises(dist.DistBackendError, match="mismatch"):
            work.wait()
        failed = work.get_future().then(lambda done: done.value())
        with pytest.raises(dist.DistBackendError, match="mismatch"):
            failed.wait()
        return work.is_completed(), work.is_success(), type(work.exception()).__name__

    assert values(ranks(body, 2)) == [(True, False, "MismatchError")] * 2


def test_a_work_that_outlives_its_world():
    def body(rank):
        work = dist.all_reduce(np.zeros(2), async_op=True) if rank == 0 else None
        started = time.monotonic()
        dist.destroy_process_group()
        assert time.monotonic() - started < 3
        if work:
            # Rank 1 may have left before rank 0 did, which then has noticed that first.
            with pytest.raises(dist.DistBackendError, match=r"destroyed while this was under way|rank 1 is gone"):
                work.wait()

    values(ranks(body, 2))


def test_time_outside_does_not_count_against_a_work_whose_messages_are_there():
    def body(rank):
        x = np.full(40_000, 1.0)
        work = dist.all_reduce(x, async_op=True)
        time.sleep(0.15 if rank else 0.0)  # computes, while the others wait less than the limit
        work.wait()
        return x[0]

    assert values(ranks(body, 2, timeout=timedelta(seconds=2))) == [2, 2]


def computing(until):
    """Compute, without a call of the package, until ``until()``; whether that came within ten seconds."""
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        sum(range(1000))
    return until()


@pytest.mark.parametrize("elements", [3, 40_000], ids=["small", "large"])
def test_work_goes_on_while_its_process_computes(elements, tmp_path):
    """Rank 0 leads the group and computes until the others have their result."""
    done = tmp_path / "done"

    def body(rank):
        x = np.full(elements, rank + 1.0)
        work = dist.all_reduce(x, async_op=True)
        if rank == 0:
            assert computing(done.exists)
        work.wait()
        if rank == 1:
            done.touch()
        return x[-1]

    assert values(ranks(body, 3)) == [6, 6, 6]


@pytest.mark.parametrize("computes", ["sender", "receiver"])
def test_a_large_message_goes_on_while_one_side_computes(computes, tmp_path):
    done = tmp_path / "done"
    size = 1 << 20

    def body(rank):
        is_sender = rank == 0
        x = np.full(size, 5.0 if is_sender else 0.0)
        work = dist.isend(x, 1) if is_sender else dist.irecv(x, 0)
        if computes == ("sender" if is_sender else "receiver"):
            assert computing(done.exists)
        work.wait()
        if computes != ("sender" if is_sender else "receiver"):
            done.touch()
        return x[-1]

    assert values(ranks(body, 2)) == [5, 5]


def test_nobody_waits_longer_than_its_time_for_one_who_computes(tmp_path):
    done = tmp_path / "done"

    def body(rank):
        x = np.ones(2)
        work = dist.all_reduce(x, async_op=True)
        if rank == 0:
            assert computing(done.exists)
            time.sleep(0.6)  # longer than the group's time-out
        work.wait()
        done.touch()
        return x[0]

    assert values(ranks(body, 2, timeout=timedelta(seconds=0.5))) == [2, 2]


def test_there_is_no_thread_without_pending_work():
    def body(rank):
        def threads():
            return len(os.listdir("/proc/self/task"))

        before = threads()
        x = np.ones(1)
        for _ in range(20):
            dist.all_reduce(x)
            dist.barrier()
        assert threads() == before
        if rank == 0:
            work = dist.all_reduce(x, async_op=True)
            assert threads() == before + 1
            dist.send(x, 1)
            work.wait()
        else:
            dist.recv(np.zeros(1), 0)
            dist.all_reduce(x)
        return computing(lambda: threads() == before)

    assert values(ranks(body, 2)) == [True, True]
