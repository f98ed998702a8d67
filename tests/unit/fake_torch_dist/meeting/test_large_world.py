"""A world too large for every rank to get the contacts of all: a rank asks the store when it first turns to another."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.meeting.generations import join
from fake_torch_dist.meeting.rank_values import RankValues
from fake_torch_dist.stores import TCPStore, gatherings
from fake_torch_dist.stores.gatherings import Gathered
from fake_torch_dist.transports import listening
from tests.support.free_ports import free_port
from tests.support.meeting import SOON, ranks
from tests.support.processes import exit_codes

SIZE = 6
PATIENCE = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def every_world_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank gets the contact of rank 0 and that of the next rank, and asks for all others."""
    monkeypatch.setattr(gatherings, "SMALL_WORLD", 1)


def in_world(body: Callable[[int], None]) -> None:
    """Run ``body(rank)`` on all ranks of a world."""
    port = free_port()

    def rank_of(rank: int) -> None:
        os.environ["RANK"] = str(rank)
        method = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=method, rank=rank, world_size=SIZE, timeout=PATIENCE)
        body(rank)
        dist.destroy_process_group()

    assert exit_codes(*(partial(rank_of, rank) for rank in range(SIZE)), deadline_s=120) == [0] * SIZE


def exchange_with_all(rank: int) -> None:
    """Send a number to each other rank, and receive theirs."""
    sent = [dist.isend(np.array([float(rank)]), other) for other in range(SIZE) if other != rank]
    for other in range(SIZE):
        if other != rank:
            found = np.empty(1)
            dist.recv(found, other)
            assert found[0] == other
    for work in sent:
        work.wait()


def test_all_ranks_reach_each_other_and_groups_work():
    def body(rank: int) -> None:
        exchange_with_all(rank)
        halves = [dist.new_group([0, 2, 4]), dist.new_group([5, 3, 1])]
        whole, half = np.array([1.0 + rank]), np.array([1.0 + rank])
        dist.all_reduce(whole)
        dist.all_reduce(half, group=halves[rank % 2])
        assert (whole[0], half[0]) == (21.0, 12.0 if rank % 2 else 9.0)

    in_world(body)


def test_ranks_of_several_hosts_reach_each_other(monkeypatch: pytest.MonkeyPatch):
    """Ranks in turns on two hosts, which have addresses besides."""
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "secret")
    monkeypatch.setattr(listening, "host_identity", lambda: f"host{int(os.environ['RANK']) % 2}")

    def body(rank: int) -> None:
        exchange_with_all(rank)
        assert [*dist.group.WORLD.runner.peers.contacts.near] == [*range(rank % 2, SIZE, 2)]

    in_world(body)


def test_a_thread_that_waits_for_a_key_does_not_hold_up_a_first_message():
    def body(rank: int) -> None:
        store = dist.distributed_c10d._get_default_store()._underlying_non_prefix_store
        waiting = threading.Thread(target=store.get, args=("come",))
        waiting.start()
        while store._mutex.take_if_free():  # until the thread has it
            store._mutex.__exit__()
            time.sleep(0.001)
        exchange_with_all(rank)
        dist.barrier()
        if rank == 0:
            TCPStore("127.0.0.1", store.port).set("come", "here")
        waiting.join()

    in_world(body)


def test_a_rank_that_ends_is_named():
    def body(rank: int) -> None:
        if rank == 3:
            os._exit(0)
        with pytest.raises(dist.DistBackendError, match="rank 3"):
            dist.all_reduce(np.ones(1))

    in_world(body)


def test_without_the_store_a_rank_that_is_not_known_is_gone():
    def refuse(ranks: object) -> list[bytes]:
        raise DistStoreError("the server has ended")

    values = RankValues(3, Gathered(0, range(3), 3, {0: b"zero"}), refuse)
    assert values[0] == b"zero"
    with pytest.raises(ConnectionError, match=r"^the values of ranks \[2\] cannot be had .*: the server has ended$"):
        values[2]


def test_values_are_asked_for_once_and_together():
    asked: list[list[int]] = []

    def answer(wanted: object) -> list[bytes]:
        asked.append([*wanted])
        return [b"of %d" % rank for rank in wanted]

    values = RankValues(5, Gathered(0, range(5), 5, {0: b"of 0"}), answer)
    values.fetch([0, 1, 3])
    assert [*values] == [b"of %d" % rank for rank in range(5)] and values[1:3] == [b"of 1", b"of 2"]
    assert asked == [[1, 3], [2], [4]]


def test_values_of_a_world_that_has_met_again_are_not_given_to_the_first():
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def body(rank: int) -> None:
        store = TCPStore("127.0.0.1", server.port)
        first = join(store, rank, 3, SOON, b"first %d" % rank, b"h")
        second = join(store, rank, 3, SOON, b"second %d" % rank, b"h")
        assert [*second.values] == [b"second %d" % other for other in range(3)]
        if rank == 0:
            with pytest.raises(ConnectionError, match="gathering 0 are not kept"):
                first.values[2]

    ranks(body, 3)
