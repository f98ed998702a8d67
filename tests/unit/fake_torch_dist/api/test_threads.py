"""Several threads of one process, signal handlers, executors: whoever enters the engine while another is inside."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values


def in_threads(count, body):
    """Run ``body(k)`` in ``count`` threads; what went wrong in them."""
    wrong = []

    def one(k):
        try:
            body(k)
        except BaseException as failure:
            wrong.append(f"thread {k}: {type(failure).__name__}: {failure}")

    threads = [threading.Thread(target=one, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize(("count", "elements", "rounds"), [(2, 5, 150), (4, 2000, 60), (2, 30_000, 40)])
def test_threads_with_a_group_each(count, elements, rounds):
    def body(rank):
        groups = [dist.new_group() for _ in range(count)]

        def one(k):
            for turn in range(rounds):
                x = np.full(elements, float(rank + turn + k))
                dist.all_reduce(x, group=groups[k])
                assert (x == 2 * (turn + k) + 1).all(), (turn, x[0])

        return in_threads(count, one)

    assert values(ranks(body, 2)) == [[], []]


def test_threads_that_do_different_things():
    """Messages, barriers, asynchronous work and objects, each in a thread and a group of its own, on three ranks."""

    def body(rank):
        groups = [dist.new_group() for _ in range(4)]
        others = [other for other in range(3) if other != rank]

        def messages(group):
            for turn in range(30):
                got = [np.zeros(1) for _ in others]
                works = [dist.irecv(buffer, other, group) for buffer, other in zip(got, others, strict=True)]
                for other in others:
                    dist.send(np.full(1, 10.0 * turn + rank), other, group)
                for work in works:
                    work.wait()
                assert [each[0] for each in got] == [10 * turn + other for other in others]

        def barriers(group):
            for _ in range(60):
                dist.barrier(group)

        def asynchronous(group):
            for _ in range(15):
                arrays = [np.full(n, rank + 1.0) for n in (1, 20_000, 3)]
                works = [dist.all_reduce(each, group=group, async_op=True) for each in arrays]
                while not works[1].is_completed():
                    time.sleep(0)
                for work in works:
                    work.wait()
                assert [each[-1] for each in arrays] == [6, 6, 6]

        def objects(group):
            for turn in range(20):
                found = [None] * 3
                dist.all_gather_object(found, (rank, turn), group)
                assert found == [(other, turn) for other in range(3)]

        kinds = [messages, barriers, asynchronous, objects]
        return in_threads(4, lambda k: kinds[k](groups[k]))

    assert values(ranks(body, 3)) == [[]] * 3


def test_threads_that_share_a_group():
    """Calls match in the order in which the process makes them, whichever threads make them."""

    def body(rank):
        totals = []

        def one(k):
            for _ in range(50):
                x = np.ones(4)
                dist.all_reduce(x)
                totals.append(x[0])

        wrong = in_threads(3, one)
        return wrong, set(totals), len(totals)

    assert values(ranks(body, 2)) == [([], {2.0}, 150)] * 2


def test_one_thread_waits_long_while_another_goes_on_and_its_time_is_its_own():
    def body(rank):
        slow, quick = dist.new_group(timeout=timedelta(seconds=15)), dist.new_group(timeout=timedelta(seconds=0.3))
        if rank:
            dist.barrier()
            dist.barrier(slow)
            return None
        waiting = threading.Thread(target=dist.barrier, args=(slow,))
        waiting.start()
        started = time.monotonic()
        with pytest.raises(dist.DistBackendError, match="Timed out waiting 300ms for rank 1"):
            dist.all_reduce(np.zeros(1), group=quick)
        with pytest.raises(RuntimeError, match=r"^Operation timed out!$"):
            dist.irecv(np.zeros(1), 1).wait(timedelta(seconds=0.1))
        assert time.monotonic() - started < 8
        dist.barrier()
        waiting.join()
        return None

    values(ranks(body, 2))


def test_a_world_that_ends_while_a_thread_waits():
    def body(rank):
        told = []

        def wait():
            try:
                dist.recv(np.zeros(1), 1 - rank)
            except RuntimeError as failure:
                told.append(type(failure).__name__)

        engine = dist.group.WORLD.runner
        thread = threading.Thread(target=wait)
        thread.start()
        deadline = time.monotonic() + 10
        while not engine._tasks and time.monotonic() < deadline:
            time.sleep(0.001)
        dist.barrier()
        dist.destroy_process_group()
        thread.join()
        return told

    found = values(ranks(body, 2))
    assert all(told in (["DistBackendError"], ["PeerGoneError"]) for told in found), found


def test_collectives_in_executors_of_asyncio():
    def body(rank):
        groups = [dist.new_group() for _ in range(3)]

        async def one(loop, pool, group):
            for turn in range(20):
                x = np.full(3, float(rank))
                await loop.run_in_executor(pool, lambda x=x: dist.all_reduce(x, group=group))
                assert x[0] == 1, turn

        async def every():
            with ThreadPoolExecutor(3) as pool:
                loop = asyncio.get_running_loop()
                await asyncio.gather(*(one(loop, pool, group) for group in groups))

        asyncio.run(every())

    values(ranks(body, 2))


def test_a_signal_handler_calls_a_collective_while_the_thread_waits():
    """The wait that it interrupts goes on, also if the handler's call finds what it waits for."""

    def body(rank):
        others, found = dist.new_group(), np.full(1, rank + 1.0)

        def handle(*_):
            dist.all_reduce(found, group=others)

        signal.signal(signal.SIGUSR1, handle)
        x = np.zeros(1)
        if rank == 0:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            dist.recv(x, 1)  # rank 1 sends before it takes part, so the handler's call receives this, too
        else:
            time.sleep(0.2)
            dist.send(np.full(1, 7.0), 0)
            handle()
        return x[0], found[0]

    assert values(ranks(body, 2)) == [(7, 3), (0, 3)]


def test_a_call_from_inside_of_the_engine_is_refused():
    """As a signal handler makes it that interrupts its thread while messages are moved."""

    def body(rank):
        engine = dist.group.WORLD.runner
        with engine._lock:
            for call in (dist.barrier, lambda: dist.recv(np.zeros(1), 1 - rank), dist.destroy_process_group):
                with pytest.raises(RuntimeError, match=r"signal handler .* Set a flag in the handler"):
                    call()
        dist.barrier()

    values(ranks(body, 2))


def test_an_interrupted_wait_leaves_the_work_to_the_next():
    def body(rank):
        x = np.full(1, rank + 1.0)
        if rank:
            dist.recv(np.zeros(1), 0)
            dist.all_reduce(x)
            return x[0]
        work = dist.all_reduce(x, async_op=True)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            work.wait()
        dist.send(x, 1)
        assert work.wait()
        return x[0]

    assert values(ranks(body, 2)) == [3, 3]


def test_callbacks_run_once_before_the_wait_returns_and_may_call_collectives():
    def body(rank):
        other, seen = dist.new_group(), []

        def then(future):
            y = np.ones(1)
            dist.all_reduce(y, group=other)
            seen.append(y[0])
            return future.value()[0][0] + y[0]

        x = np.full(1, rank + 1.0)
        following = dist.all_reduce(x, async_op=True).get_future().then(then)
        assert (following.wait(), seen) == (5, [2])
        work = dist.all_reduce(np.ones(1), async_op=True)
        work.get_future().then(lambda _: seen.append("done"))
        work.wait()
        work.wait()
        return seen

    assert values(ranks(body, 2)) == [[2, "done"]] * 2
