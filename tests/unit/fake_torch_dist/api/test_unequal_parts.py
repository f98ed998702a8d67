"""Parts of different sizes, or of no rows at all: all_to_all and reduce_scatter, on processes and on torch."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import WORLDS, processes, ranks, values

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture(params=["processes", pytest.param("torch_gloo", marks=[pytest.mark.real, needs_torch])])
def world(request):
    """``world(body, size)``: what the body left on each rank."""
    return WORLDS[request.param]


@pytest.fixture(
    params=["virtual", "processes", pytest.param("torch_gloo", marks=[pytest.mark.real, needs_torch])], scope="module"
)
def any_world(request):
    """As ``world``, or one process that plays all ranks."""
    return WORLDS[request.param]


def rows(count, rank, width=3):
    return np.arange(count * width, dtype=np.float64).reshape(count, width) + 100 * rank


COUNTS = [
    [[0, 2], [2, 0]],
    [[0, 0], [0, 0]],
    [[0, 0], [5, 1]],
    [[1, 0, 4], [0, 0, 0], [2, 0, 3]],
    [[0, 0, 9000], [0, 0, 0], [1, 0, 0]],
]
"""``COUNTS[k][a][b]`` rows go from rank a to rank b."""


@pytest.mark.parametrize("counts", COUNTS)
def test_blocks_without_rows(world, counts):
    size = len(counts)

    def body(dist, tensor):
        me = dist.get_rank()
        sent, wanted = counts[me], [counts[other][me] for other in range(size)]
        x, y = tensor(lambda _: rows(sum(sent), me)), tensor(lambda _: np.full((sum(wanted), 3), -1.0))
        dist.all_to_all_single(y, x, wanted, sent)
        return [y]

    for me, (whole,) in enumerate(world(body, size)):
        want = [rows(sum(counts[a]), a)[sum(counts[a][:me]) : sum(counts[a][: me + 1])] for a in range(size)]
        assert whole.tolist() == np.concatenate(want).tolist()


@pytest.mark.parametrize("counts", COUNTS)
def test_lists_of_tensors_without_rows(counts):
    """gloo asks for equal shapes here; NCCL does not."""
    size = len(counts)

    def body(dist, tensor):
        me = dist.get_rank()
        ins = [tensor(lambda _, n=n: rows(n, me)) for n in counts[me]]
        outs = [tensor(lambda _, n=n: np.full((n, 3), -1.0)) for n in (counts[other][me] for other in range(size))]
        dist.all_to_all(outs, ins)
        return outs

    for me, parts in enumerate(processes(body, size)):
        assert [part.tolist() for part in parts] == [rows(counts[a][me], a).tolist() for a in range(size)]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 0), (2, 0, 3)])
def test_tensors_without_elements(any_world, shape):
    def body(dist, tensor):
        x, y, z = (tensor(lambda _: np.zeros(shape, np.float32)) for _ in range(3))
        dist.all_to_all_single(y, x)
        dist.all_reduce(x)
        dist.broadcast(x, 1)
        outs = [tensor(lambda _: np.zeros(shape, np.float32)) for _ in range(2)]
        dist.all_gather(outs, x)
        dist.all_to_all([tensor(lambda _: np.zeros(shape, np.float32)) for _ in range(2)], outs)
        dist.reduce_scatter(z, outs)
        dist.barrier()
        return [x, y, z, *outs]

    for each in any_world(body, 2):
        assert [np.asarray(array).shape for array in each] == [shape] * 5


@pytest.mark.parametrize("shapes", [[(1,), (3,)], [(0,), (2, 2), (5,)], [(40_000,), (1,)], [(3,), (0, 4)]])
def test_reduce_scatter_of_parts_of_different_shapes(world, shapes):
    size = len(shapes)

    def body(dist, tensor):
        me = dist.get_rank()
        out = tensor(lambda _: np.zeros(shapes[me], np.float32))
        parts = [tensor(lambda _, k=k: np.full(shapes[k], 10.0 * me + k, np.float32)) for k in range(size)]
        dist.reduce_scatter(out, parts)
        highest = tensor(lambda _: np.zeros(shapes[me], np.float32))
        dist.reduce_scatter(highest, parts, op=dist.ReduceOp.MAX)
        return [out, highest]

    for me, (total, highest) in enumerate(world(body, size)):
        assert total.tolist() == np.full(shapes[me], sum(10.0 * a + me for a in range(size))).tolist()
        assert highest.tolist() == np.full(shapes[me], 10.0 * (size - 1) + me).tolist()


def test_parts_that_do_not_fit():
    def body(rank):
        parts = [np.ones(1), np.ones(3)]
        with pytest.raises(RuntimeError, match=r"invalid tensor size at index . \(expected \(2,\)"):
            dist.reduce_scatter(np.zeros(2), parts)
        with pytest.raises(ValueError, match="different dtypes"):
            dist.reduce_scatter(np.zeros(parts[rank].shape), [parts[0], parts[1].astype(np.float32)])
        with pytest.raises(dist.DistBackendError, match=r"REDUCE_SCATTER, TensorShape=\[1, 3\].*TensorShape=\[1, 4\]"):
            dist.reduce_scatter(np.zeros(4 if rank else 1), [np.ones(1), np.ones(4 if rank else 3)])
        out = np.zeros(3 if rank else 1)
        dist.reduce_scatter(out, parts, op=dist.ReduceOp.AVG)
        return out.tolist()

    assert values(ranks(body, 2)) == [[1], [1, 1, 1]]
