"""Python objects between processes."""

from __future__ import annotations

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values


def test_every_object_collective():
    def body(rank):
        everyone = [None] * 3
        dist.all_gather_object(everyone, {"rank": rank, "x": np.arange(rank)})
        shapes = [each["x"].shape for each in everyone]
        gathered = [None] * 3 if rank == 1 else None
        dist.gather_object(str(rank) * rank, gathered, dst=1)
        shared = [rank, {"from": rank}]
        dist.broadcast_object_list(shared, src=2)
        mine = [None, "kept"]
        dist.scatter_object_list(mine, [(k, "x" * 50_000) for k in range(3)] if rank == 0 else None, src=0)
        mine[0] = (mine[0][0], len(mine[0][1]))
        return shapes, gathered, shared, mine

    shapes = [(0,), (1,), (2,)]
    for rank, found in enumerate(values(ranks(body, 3))):
        gathered = ["", "1", "22"] if rank == 1 else None
        assert found == (shapes, gathered, [2, {"from": 2}], [(rank, 50_000), "kept"])


def test_lists_from_rank_to_rank():
    def body(rank):
        if rank == 0:
            dist.send_object_list(["a", {1: 2}], 1)
            dist.send_object_list(["b"], 1)
            dist.send(np.zeros(2), 1)
            return None
        objects = [None, None]
        source = dist.recv_object_list(objects, 0)
        texts = []
        for _ in range(2):
            with pytest.raises(RuntimeError) as caught:
                dist.recv_object_list([None, None])
            texts.append(str(caught.value))
        return source, objects, texts

    source, objects, texts = values(ranks(body, 2))[1]
    assert (source, objects) == (0, ["a", {1: 2}])
    assert texts == [
        "rank 0 sent objects of shape (1,), but rank 1 receives objects of shape (2,)",
        "rank 0 sent float64 of shape (2,), but rank 1 receives objects of shape (2,)",
    ]


def test_an_object_that_cannot_be_pickled_fails_before_anything_is_sent():
    def body(rank):
        if rank == 1:
            with pytest.raises((AttributeError, TypeError), match="pickle"):
                dist.all_gather_object([None, None], lambda: None)
        found = [None, None]
        dist.all_gather_object(found, rank)
        return found

    assert values(ranks(body, 2)) == [[0, 1], [0, 1]]


def test_lists_of_different_length_are_an_error_everywhere():
    def body(rank):
        with pytest.raises(RuntimeError, match=r"Rank 0 .*TensorShape=\[1\].* Rank 1 .*TensorShape=\[2\]"):
            dist.broadcast_object_list([None] * (rank + 1), 0)
        dist.barrier()

    values(ranks(body, 2))


def test_wrong_lists():
    def body(rank):
        with pytest.raises(IndexError, match="1 entries for 2 ranks"):
            dist.all_gather_object([None], 1)
        with pytest.raises(ValueError, match="scatter_object_output_list to be a list of size at least 1"):
            dist.scatter_object_list([], [1, 2])
        with pytest.raises(ValueError, match=r"must be specified on destination|must NOT be specified"):
            dist.gather_object(1, [None, None] if rank else None)
        dist.barrier()

    values(ranks(body, 2))
