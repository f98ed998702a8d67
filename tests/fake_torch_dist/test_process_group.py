"""A process that plays one rank uses the same methods as one that plays all: only the transport differs."""

from datetime import timedelta

import numpy as np
import pytest

from fake_torch_dist import ProcessGroup, ReduceOp
from fake_torch_dist.reduction import fold_nodes


class RecordedTransport:
    """Plays group rank ``me`` of a group whose shards are all known beforehand."""

    def __init__(self, everyone: np.ndarray, me: int) -> None:
        self.everyone, self.me, self.closed = everyone, me, False

    def all_fold(self, shards, ufunc):
        assert shards.tobytes() == self.everyone[self.me : self.me + 1].tobytes()
        return fold_nodes(self.everyone, ufunc, 2)

    def all_gather(self, shards):
        return self.everyone

    def broadcast(self, shards, root):
        return self.everyone[root]

    def scatter(self, parts, root):
        assert (parts is None) == (root != self.me)
        return np.array([[7.0, 8.0]])

    def barrier(self):
        self.closed = "barrier"

    def close(self):
        self.closed = True


EVERYONE = np.arange(8.0).reshape(4, 2)


@pytest.fixture
def rank_2():
    """Group rank 2 of 4, in a process of its own; and its tensor."""
    group = ProcessGroup(
        [10, 11, 12, 13], RecordedTransport(EVERYONE, 2), played=[2], rows=[0], num_local=1, group_name="0",
        group_desc="", backend="recorded", ranks_per_node=2, timeout=timedelta(seconds=1),
    )  # fmt: skip
    return group, EVERYONE[2:3].copy()


def test_reductions_end_in_the_one_row(rank_2):
    group, mine = rank_2
    assert group.rank() == 2
    group.allreduce(mine, ReduceOp.AVG)
    assert mine.tolist() == [[3, 4]]


def test_only_the_root_keeps_a_reduction_or_a_gathering(rank_2):
    group, mine = rank_2
    group.reduce(mine, 0, ReduceOp.SUM)
    group.gather([], mine, 1)
    assert mine.tolist() == [[4, 5]]
    outputs = [np.zeros((1, 2)) for _ in range(4)]
    group.gather(outputs, mine, 2)
    assert np.concatenate(outputs).tolist() == EVERYONE.tolist()
    group.reduce(mine, 2, ReduceOp.SUM)
    assert mine.tolist() == [[12, 16]]


def test_broadcast_scatter_and_reduce_scatter(rank_2):
    group, mine = rank_2
    group.broadcast(mine, 3)
    assert mine.tolist() == [[6, 7]]
    group.scatter(mine, [], 0)
    group.scatter(mine, [mine.copy() for _ in range(4)], 2)
    assert mine.tolist() == [[7, 8]]
    group.transport.everyone = np.arange(16.0).reshape(4, 4)
    block = np.zeros((1, 1))
    group.reduce_scatter_single(block, np.arange(8.0, 12.0).reshape(1, 4), ReduceOp.SUM)
    assert block.tolist() == [[2 + 6 + 10 + 14]]


def test_close_reaches_the_transport_and_ends_the_group(rank_2):
    group, mine = rank_2
    group.barrier()
    assert group.transport.closed == "barrier"
    group.close()
    assert group.transport.closed is True
    for call in (group.barrier, lambda: group.allreduce(mine, ReduceOp.SUM)):
        with pytest.raises(ValueError, match="is not registered"):
            call()
