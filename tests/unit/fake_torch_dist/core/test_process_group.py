"""A process that plays one rank uses the same methods as one that plays all: only the transport differs."""

from datetime import timedelta

import numpy as np
import pytest

from fake_torch_dist import ProcessGroup, ReduceOp
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.group_members import GroupLabels
from fake_torch_dist.core.reduction import fold_nodes
from fake_torch_dist.core.runner import InlineRunner


class RecordedTransport:
    """Plays group rank ``me`` of a group whose shards are all known beforehand."""

    def __init__(self, everyone: np.ndarray, me: int) -> None:
        self.everyone, self.me, self.closed = everyone, me, False

    def label(self, name, array=None, *details, shapeless=False):
        return Call(name, "", ())

    def out_row(self, mine, *read):
        return None

    def out_rows(self, rows, mine):
        return None

    def out_block(self, output, mine):
        return None

    async def all_fold(self, shards, ufunc, call, out=None):
        assert shards.tobytes() == self.everyone[self.me : self.me + 1].tobytes()
        return fold_nodes(self.everyone, ufunc, 2)

    async def all_gather(self, shards, call, out=None):
        return self.everyone

    async def gather(self, shards, root, call, out=None):
        return self.everyone

    async def reduce_scatter(self, shards, ufunc, call, out=None):
        block = self.everyone.shape[1] // 4
        return (await self.all_fold(shards, ufunc, call))[self.me * block : (self.me + 1) * block]

    async def broadcast(self, shards, root, call, out=None):
        return self.everyone[root]

    async def scatter(self, parts, root, call, like, out=None):
        assert (parts is None) == (root != self.me)
        return np.array([[7.0, 8.0]])

    async def barrier(self, name):
        self.closed = "barrier"

    def close(self):
        self.closed = True


EVERYONE = np.arange(8.0).reshape(4, 2)


def run_alone(coroutine):
    return InlineRunner().run(coroutine, (), timedelta(0))


@pytest.fixture
def rank_2():
    """Group rank 2 of 4, in a process of its own; and its tensor."""
    group = ProcessGroup(
        [10, 11, 12, 13], RecordedTransport(EVERYONE, 2), InlineRunner(), played=[2], rows=[0], num_local=1,
        labels=GroupLabels("0", "", "recorded", timedelta(seconds=1)), ranks_per_node=2,
    )  # fmt: skip
    return group, EVERYONE[2:3].copy()


def test_reductions_end_in_the_one_row(rank_2):
    group, mine = rank_2
    assert group.rank() == 2
    run_alone(group.allreduce_rows(mine, ReduceOp.AVG))
    assert mine.tolist() == [[3, 4]]


def test_only_the_root_keeps_a_reduction_or_a_gathering(rank_2):
    group, mine = rank_2
    run_alone(group.reduce_rows(mine, 0, ReduceOp.SUM))
    run_alone(group.gather_rows([], mine, 1))
    assert mine.tolist() == [[4, 5]]
    outputs = [np.zeros((1, 2)) for _ in range(4)]
    run_alone(group.gather_rows(outputs, mine, 2))
    assert np.concatenate(outputs).tolist() == EVERYONE.tolist()
    run_alone(group.reduce_rows(mine, 2, ReduceOp.SUM))
    assert mine.tolist() == [[12, 16]]


def test_broadcast_scatter_and_reduce_scatter(rank_2):
    group, mine = rank_2
    run_alone(group.broadcast_rows(mine, 3))
    assert mine.tolist() == [[6, 7]]
    run_alone(group.scatter_rows(mine, [], 0))
    run_alone(group.scatter_rows(mine, [mine.copy() for _ in range(4)], 2))
    assert mine.tolist() == [[7, 8]]
    group.transport.everyone = np.arange(16.0).reshape(4, 4)
    block = np.zeros((1, 1))
    run_alone(group.reduce_scatter_single_rows(block, np.arange(8.0, 12.0).reshape(1, 4), ReduceOp.SUM))
    assert block.tolist() == [[2 + 6 + 10 + 14]]


def test_close_reaches_the_transport_and_ends_the_group(rank_2):
    group, mine = rank_2
    run_alone(group.barrier_round())
    assert group.transport.closed == "barrier"
    group.close()
    assert group.transport.closed is True
    for call in (group.barrier_round, lambda: group.allreduce_rows(mine, ReduceOp.SUM)):
        with pytest.raises(ValueError, match="is not registered"):
            run_alone(call())
