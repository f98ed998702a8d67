"""Worlds and groups of processes: making, asking, ending, doing it again, and what is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
import warnings
from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.free_ports import free_port
from tests.support.repository import ROOT
from tests.support.worlds import initializer, outcomes, ranks, values


@pytest.mark.parametrize("backend", ["nccl", "gloo", "cpu:gloo,cuda:nccl", None])
def test_a_world_by_environment(backend):
    port = free_port()

    def body(rank):
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", RANK=str(rank))
        dist.init_process_group(backend, timeout=timedelta(seconds=20))
        x = np.array([rank + 1])
        dist.all_reduce(x)
        return dist.get_rank(), dist.get_world_size(), dist.get_backend(), x.item(), os.environ.get("LOCAL_WORLD_SIZE")

    name = backend or "undefined"
    assert values(outcomes(body, 2)) == [(0, 2, name, 3, None), (1, 2, name, 3, None)]


@pytest.mark.parametrize("scheme", ["tcp", "file"])
def test_a_world_by_address(scheme, tmp_path):
    url = f"tcp://127.0.0.1:{free_port()}" if scheme == "tcp" else f"file://{tmp_path}/meeting"

    def body(rank):
        dist.init_process_group("gloo", init_method=url, rank=rank, world_size=2, timeout=timedelta(seconds=20))
        dist.barrier()
        return dist.get_rank()

    assert values(outcomes(body, 2)) == [0, 1]


def test_defaults_and_a_world_of_one():
    for backend, minutes in (("gloo", 30), ("nccl", 10)):
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        try:
            world = dist.group.WORLD
            assert world.timeout == timedelta(minutes=minutes)
            x, y = np.arange(20_000.0), np.zeros((1, 20_000))
            dist.all_reduce(x, dist.ReduceOp.AVG)
            dist.all_gather([y[0]], x)
            dist.broadcast(x, 0)
            dist.all_to_all([y[0]], [x])
            dist.gather(x, [y[0]])
            dist.scatter(x, [y[0] + 1])
            assert (y[0] == np.arange(20_000)).all() and x[-1] == 20_000
            with pytest.raises(ValueError, match=r"trying to initialize the default process group twice!"):
                dist.init_process_group(backend)
            with pytest.raises(TypeError, match=r"got a LocalTensor. This process plays one rank"):
                dist.all_reduce(dist.LocalTensor.from_ranks([1.0]))
            for wrong in (
                np.array(["a"]),
                np.zeros(2, object),
                np.zeros(2, ">f4"),
                np.zeros(1, "M8[s]"),
                np.float64(1),
            ):
                with pytest.raises(TypeError, match=r"numpy\.ndarray"):
                    dist.broadcast(wrong, 0)
        finally:
            dist.destroy_process_group()
    assert not dist.is_initialized()


def test_destroy_and_init_again_many_times():
    port = free_port()

    def body(rank):
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="3", RANK=str(rank))
        found = []
        for turn in range(8):
            dist.init_process_group("gloo", timeout=timedelta(seconds=20))
            x = np.array([rank + turn])
            dist.all_reduce(x)
            found.append(x.item())
            dist.destroy_process_group()
        return found, len(os.listdir("/proc/self/fd"))

    found = values(outcomes(body, 3))
    assert all(each[0] == [3 + 3 * turn for turn in range(8)] for each in found)
    assert max(each[1] for each in found) < 40  # nothing of earlier worlds is open


def test_ranks_that_do_not_come_are_named():
    start = initializer(4, timeout=timedelta(seconds=2))

    def body(rank):
        if rank in (1, 3):
            return None
        with pytest.raises(dist.DistStoreError) as caught:
            start(rank)
        return str(caught.value)

    for text in values(outcomes(body, 4))[::2]:
        assert "2/4 clients joined" in text and "1, 3" in text


def test_a_world_needs_more_descriptors_than_a_process_may_have():
    """The first rank talks to all: it raises its soft limit, as far as the hard one lets it."""
    size = 24
    start = initializer(size)

    def body(rank):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, hard))
        start(rank)
        x = np.array([rank])
        dist.all_reduce(x)
        return x.item(), len(os.listdir("/proc/self/fd")) - used

    found = values(outcomes(body, size))
    assert {total for total, _ in found} == {sum(range(size))}
    assert size - 1 < found[0][1] < size + 8  # one for each of the others
    assert max(descriptors for _, descriptors in found[1:]) < 8


def test_a_pair_of_ranks_that_talk_at_once_hears_everything_in_order():
    """Both make a connection before they know of the other's."""
    count = 200

    def body(rank):
        peer = 3 - rank
        if rank == 0:
            dist.barrier()
            return None
        sent = [dist.isend(np.array([number]), peer) for number in range(count)]
        heard, x = [], np.zeros(1, int)
        for _ in range(count):
            dist.recv(x, peer)
            heard.append(x.item())
        for work in sent:
            work.wait()
        dist.barrier()
        return heard

    assert values(ranks(body, 3)) == [None, list(range(count)), list(range(count))]


def test_new_groups_members_and_others():
    def body(rank):
        odd, low = dist.new_group([3, 1]), dist.new_group([0, 1, 2])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            x = np.array([rank])
            result = dist.all_reduce(x, group=odd, async_op=True)
            if result:
                result.wait()
        texts = [str(each.message) for each in caught]
        y = np.array([rank])
        dist.broadcast(y, 1, group=low) if rank < 3 else None
        mine, everyone = dist.new_subgroups(2)
        return dist.get_rank(odd), dist.get_world_size(odd), x.item(), texts, y.item(), mine.ranks, len(everyone)

    found = values(ranks(body, 4))
    assert [each[:3] for each in found] == [(-1, -1, 0), (0, 2, 4), (-1, -1, 2), (1, 2, 4)]
    text = "Running all_reduce on global rank {} which does not belong to the given group."
    assert [each[3] for each in found] == [[text.format(0)], [], [text.format(2)], []]
    assert [each[4:] for each in found] == [(1, (0, 1), 2), (1, (0, 1), 2), (1, (2, 3), 2), (3, (2, 3), 2)]


def test_groups_whose_members_alone_call():
    def body(rank):
        local = dist.new_group([1, 2], use_local_synchronization=True) if rank else None
        split = dist.split_group(None, [[0, 2], [1]])
        x, y = np.array([rank]), np.array([rank])
        if local:
            dist.all_reduce(x, group=local)
        dist.all_reduce(y, group=split)
        dist.barrier()
        return x.item(), y.item(), split.ranks

    assert values(ranks(body, 3)) == [(0, 2, (0, 2)), (3, 1, (1,)), (3, 2, (0, 2))]


def test_groups_that_only_some_make_shift_nobody_elses_numbers():
    """Local groups, some made several times, and split groups, before and between groups that all make."""

    def body(rank):
        made = []
        if rank < 2:
            made += [dist.new_group([0, 1], use_local_synchronization=True) for _ in range(3)]
        everyone = dist.new_group([0, 1, 2, 3])
        if rank != 1:
            made.append(dist.new_group([3, 0, 2], use_local_synchronization=True))
        odd = dist.new_group([1, 3])
        half = dist.split_group(everyone, [[0, 1], [2, 3]])
        if rank > 1:
            made.append(dist.split_group(half, [[0, 1]]))
            made.append(dist.new_group([2, 3], use_local_synchronization=True))
        last = dist.new_group()
        sums = []
        for group in (everyone, half, last, *made, *([odd] if rank % 2 else [])):
            x = np.full(1, 1.0 + rank)
            dist.all_reduce(x, group=group)
            sums.append(x[0])
        return sums, (everyone.group_name, last.group_name), [group.group_name for group in made]

    found = values(ranks(body, 4))
    assert [each[0] for each in found] == [
        [10, 3, 10, 3, 3, 3, 8],
        [10, 3, 10, 3, 3, 3, 6],
        [10, 7, 10, 8, 7, 7],
        [10, 7, 10, 8, 7, 7, 6],
    ]
    assert len({each[1] for each in found}) == 1
    assert found[0][2][:3] == found[1][2] and len(set(found[0][2])) == 4


def test_a_local_group_in_a_process_outside_of_it():
    def body(rank):
        outside = dist.new_group([1 - rank], use_local_synchronization=True)
        inside = dist.new_group([rank], use_local_synchronization=True)
        again = dist.new_group([0, 1], use_local_synchronization=True)
        return outside, inside.size(), again.size(), dist.get_pg_count()

    assert values(ranks(body, 2)) == [(None, 1, 2, 3)] * 2


def test_a_world_made_again_by_only_some_of_its_processes_counts_from_the_beginning():
    """A process that has made groups before meets one that has not."""
    first, second = initializer(1), initializer(2)

    def body(rank):
        if rank == 0:
            first(0)
            dist.new_group([0], use_local_synchronization=True)
            dist.new_group()
            dist.destroy_process_group()
        second(rank)
        local = dist.new_group([0, 1], use_local_synchronization=True)
        x = np.ones(1)
        dist.all_reduce(x, group=local)
        dist.all_reduce(x, group=dist.new_group())
        return x[0]

    assert values(outcomes(body, 2)) == [4, 4]


def test_time_outs_longer_than_epoll_takes():
    def body(rank):
        group = dist.new_group(timeout=timedelta(days=10_000))
        x = np.ones(1)
        if rank:
            dist.recv(np.zeros(1), 0)
        else:
            work = dist.barrier(async_op=True, timeout=timedelta(days=36_500))
            dist.send(x, 1)  # both wait once without anything to read
        dist.all_reduce(x, group=group)
        dist.barrier() if rank else work.wait(timedelta(days=30))
        dist.monitored_barrier(timeout=timedelta(days=100))
        return x[0]

    assert values(ranks(body, 2, timeout=timedelta(seconds=7_200_000))) == [2, 2]


def test_a_destroyed_group_leaves_the_world_alone():
    def body(rank):
        group = dist.new_group()
        dist.destroy_process_group(group)
        with pytest.raises(ValueError, match="is not registered"):
            dist.all_reduce(np.zeros(1), group=group)
        dist.barrier()

    values(ranks(body, 2))


def test_a_forked_child_is_in_no_world_and_disturbs_nothing():
    def body(rank):
        pid = os.fork()
        if pid == 0:
            code = 0 if not dist.is_initialized() else 1
            os._exit(code)
        status = os.waitpid(pid, 0)[1]
        x = np.ones(50_000)
        dist.all_reduce(x)
        return status, x[0]

    assert values(ranks(body, 2)) == [(0, 2), (0, 2)]


def test_hosts_that_share_no_kernel_meet_by_tcp(monkeypatch):
    start = initializer(3)

    def body(rank):
        from fake_torch_dist.transports import listening

        listening.host_identity = lambda: f"host{rank // 2}"
        start(rank)
        x = np.full(100_000, rank + 1.0)
        dist.all_reduce(x)
        y = np.full(300_000, float(rank))
        if rank == 2:
            dist.send(y, 0)
        if rank == 0:
            dist.recv(y, 2)
        dist.barrier()
        return x[-1], y[-1], dist.group.WORLD.transport.reads_memory

    assert values(outcomes(body, 3)) == [(6, 2, False), (6, 1, False), (6, 2, False)]


def test_strangers_are_not_heard():
    def body(rank):
        contacts = dist.group.WORLD.runner.peers.contacts
        if rank == 0:
            for text in (b"", b"GET / HTTP/1.0\r\n\r\n", b"ftdist01" + bytes(36), os.urandom(200)):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(contacts[1].unix.encode("latin-1"))
                    sock.sendall(text)
        dist.barrier()
        x = np.array([1])
        dist.all_reduce(x)
        return x.item()

    assert values(ranks(body, 2)) == [2, 2]


SCRIPT = """
    import os, sys
    import numpy as np
    import fake_torch_dist as dist
    dist.init_process_group(sys.argv[1], store=dist.HashStore(), rank=0, world_size=1)
    dist.all_reduce(np.zeros(3))
    if sys.argv[2] == "raise":
        raise ValueError("wrong")
    if sys.argv[2] == "destroy":
        dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("backend", "ending", "code", "text"),
    [
        ("nccl", "forget", 0, "WARNING: destroy_process_group() was not called before program exit"),
        ("nccl", "destroy", 0, ""),
        ("gloo", "forget", 0, ""),
        ("gloo", "raise", 1, "[rank0]: ValueError: wrong"),
    ],
)
def test_how_a_script_ends(backend, ending, code, text):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), backend, ending],
        capture_output=True, text=True, timeout=30, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert text in done.stderr
    assert bool(done.stderr) == bool(text)


def test_waiting_uses_no_cpu():
    def body(rank):
        if rank == 0:
            time.sleep(0.4)
        used = time.process_time()
        dist.barrier()
        return time.process_time() - used

    assert values(ranks(body, 2))[1] < 0.1


def test_subgroups_of_a_group_are_made_by_its_members_alone():
    def body(rank):
        half, halves = dist.new_subgroups_by_enumeration([[0, 2], [1, 3]])
        mine, quarters = dist.new_subgroups(group_size=1, group=half)
        pair, pairs = dist.new_subgroups(group_size=2, group=half)
        x = np.array([rank])
        dist.all_reduce(x, group=pair)
        later = dist.new_group([0, 1, 2, 3])
        y = np.array([rank])
        dist.all_reduce(y, group=later)
        return mine.ranks, len(quarters), pair.ranks, len(pairs), x.item(), y.item(), len(halves)

    found = values(ranks(body, 4))
    assert found[0] == ((0,), 2, (0, 2), 1, 2, 6, 2)
    assert found[3] == ((3,), 2, (1, 3), 1, 4, 6, 2)
