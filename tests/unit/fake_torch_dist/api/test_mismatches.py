"""Ranks that don't do the same are told at once, on every rank, and the group stays usable."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values

LARGE = 20_000


def shapes(rank):
    dist.all_reduce(np.zeros(2 + rank))


def large_and_small(rank):
    dist.all_reduce(np.zeros(LARGE if rank else 2))


def dtypes(rank):
    dist.all_reduce(np.zeros(3, "int32" if rank else "float32"))


def ops(rank):
    dist.all_reduce(np.zeros(3), dist.ReduceOp.MAX if rank else dist.ReduceOp.SUM)


def collectives(rank):
    x = np.zeros(LARGE)
    dist.broadcast(x, 0) if rank else dist.all_reduce(x)


def roots(rank):
    dist.broadcast(np.zeros(3), rank)


def gathered_shapes(rank):
    dist.all_gather([np.zeros(2 + rank) for _ in range(3)], np.zeros(2 + rank))


def objects_and_tensors(rank):
    dist.all_gather_object([None] * 3, 1) if rank else dist.all_reduce(np.zeros(2))


def groups(rank):
    dist.new_group([0, 1] if rank else [0, 2])


def splits(rank):
    dist.all_to_all([np.zeros(2 + (rank == 1)) for _ in range(3)], [np.zeros(2) for _ in range(3)])


@pytest.mark.parametrize(
    ("mismatch", "texts"),
    [
        (shapes, ["Detected mismatch between collectives on ranks", "Rank 0", "TensorShape=[2]", "TensorShape=[3]"]),
        (large_and_small, ["TensorShape=[2]", "TensorShape=[20000]"]),
        (dtypes, ["float32", "int32"]),
        (ops, ["RedOpType.SUM", "RedOpType.MAX"]),
        (collectives, ["OpType=ALLREDUCE", "OpType=BROADCAST"]),
        (roots, ["root=0", "root=1"]),
        (gathered_shapes, ["OpType=ALLGATHER", "TensorShape=[3]"]),
        (objects_and_tensors, ["OpType=ALLREDUCE", "OpType=ALLGATHER_OBJECT"]),
        (groups, ["OpType=NEW_GROUP", "[0, 2]", "[0, 1]"]),
        (splits, ["rank 0 sends 16 bytes to rank 1, which expects 24 from it"]),
    ],
)
def test_a_mismatch_is_an_error_on_every_rank_at_once(mismatch, texts):
    def body(rank):
        started = time.monotonic()
        with pytest.raises(RuntimeError) as caught:
            mismatch(rank)
        took_s = time.monotonic() - started
        x = np.array([rank])
        dist.all_reduce(x)
        return str(caught.value), took_s, x.item()

    for text, took_s, after in values(ranks(body, 3)):
        assert all(each in text for each in texts), text
        assert took_s < 5
        assert after == 3


def test_who_did_not_come_is_named_and_the_group_goes_on():
    """Whoever is late, rank 0 through which everything goes or another, finds that it was too late."""
    limit = timedelta(seconds=0.3)

    def body(rank):
        found = []
        meeting, quick = dist.new_group(), dist.new_group(timeout=limit)
        for late in (0, 2):
            if rank == late:
                dist.barrier(meeting)
            with pytest.raises(RuntimeError) as caught:
                dist.all_reduce(np.zeros(2), group=quick)
            found.append(str(caught.value))
            if rank != late:
                dist.barrier(meeting)
            x = np.array([rank])
            dist.all_reduce(x, group=quick)
            found.append(x.item())
        return found

    for found in values(ranks(body, 3)):
        first, one, second, other = found
        assert "for rank 0" in first
        assert "Timed out waiting 300ms for rank 2" in second
        assert (one, other) == (3, 3)


def test_monitored_barrier():
    def body(rank):
        meeting = dist.new_group()
        dist.monitored_barrier()
        texts = []
        for wait_all_ranks in (False, True):
            if rank in (0, 2):
                with pytest.raises(RuntimeError) as caught:
                    dist.monitored_barrier(timeout=timedelta(seconds=0.2), wait_all_ranks=wait_all_ranks)
                texts.append(str(caught.value))
            dist.barrier(meeting)
            if rank in (1, 3):
                with pytest.raises(RuntimeError):
                    dist.monitored_barrier()
        return texts

    found = values(ranks(body, 4))
    assert found[0] == [
        "[Rank 0]: Rank 1 failed to pass monitoredBarrier in 200 ms",
        "[Rank 0]: Ranks 1, 3 failed to pass monitoredBarrier in 200 ms",
    ]
    assert found[2][0].startswith("Rank 2 successfully reached monitoredBarrier, but received errors while waiting")


def test_a_monitored_barrier_takes_seconds_and_can_be_out_of_time_at_once():
    def body(rank):
        with pytest.warns(UserWarning, match="Please specify timeout arg as a timedelta"):
            dist.monitored_barrier(timeout=10.0)
        with pytest.raises(TypeError, match="Expected timeout argument"):
            dist.monitored_barrier(timeout=10)
        if rank == 0:
            with pytest.raises(RuntimeError, match="Rank 0 timed out in monitoredBarrier after 0 ms"):
                dist.new_group().monitored_barrier(timedelta(0))
        else:
            dist.new_group()
        return True

    assert values(ranks(body, 2)) == [True, True]
