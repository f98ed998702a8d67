"""Results of a collective on every rank, in each world: one body, compared with torch."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fake_torch_dist as dist
from tests.support.worlds import WORLDS, processes, ranks, torch_gloo, values, virtual

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture(
    params=["virtual", "processes", pytest.param("torch_gloo", marks=[pytest.mark.real, needs_torch])], scope="module"
)
def world(request):
    """``world(body, size)``: what the body left on each rank."""
    return WORLDS[request.param]


def same(got, want):
    assert [[np.asarray(each).tolist() for each in rank] for rank in got] == want


def numbers(rank, shape=(4,), dtype="float64"):
    return (np.arange(int(np.prod(shape))).reshape(shape) + 10 * rank).astype(dtype)


@pytest.mark.parametrize(("op", "want"), [("SUM", 10.0), ("PRODUCT", 24.0), ("MIN", 1.0), ("MAX", 4.0), ("AVG", 2.5)])
def test_all_reduce_leaves_the_reduction_on_every_rank(world, op, want):
    def body(dist, tensor):
        x = tensor(lambda rank: [rank + 1.0])
        dist.all_reduce(x, op=getattr(dist.ReduceOp, op))
        return [x]

    same(world(body, 4), [[[want]]] * 4)


def test_moving_collectives(world):
    def body(dist, tensor):
        x, y, z = (tensor(lambda rank: numbers(rank, (2,))) for _ in range(3))
        dist.broadcast(x, 1)
        outs = [tensor(lambda rank: [0.0, 0.0]) for _ in range(3)]
        dist.all_gather(outs, y)
        joined = tensor(lambda rank: [0.0] * 6)
        dist.all_gather_single(joined, z)
        return [x, *outs, joined]

    each = [[10 * k, 10 * k + 1] for k in range(3)]
    same(world(body, 3), [[[10, 11], *each, [0, 1, 10, 11, 20, 21]]] * 3)


def test_scattering_collectives(world):
    def body(dist, tensor):
        inputs = [tensor(lambda rank, k=k: [100.0 * rank + k]) for k in range(3)]
        a, b = (tensor(lambda rank: [-1.0]) for _ in range(2))
        dist.reduce_scatter(a, inputs)
        whole = tensor(lambda rank: [100.0 * rank, 100.0 * rank + 1, 100.0 * rank + 2])
        dist.reduce_scatter_single(b, whole, op=dist.ReduceOp.MAX)
        outs = [tensor(lambda rank: [0.0]) for _ in range(3)]
        dist.all_to_all(outs, inputs)
        dist.all_to_all_single(whole, tensor(lambda rank: numbers(rank, (3,))))
        return [a, b, *outs, whole]

    same(
        world(body, 3),
        [
            [[300.0 + 3 * r], [200.0 + r], *[[100.0 * k + r] for k in range(3)], [r, 10.0 + r, 20.0 + r]]
            for r in range(3)
        ],
    )


def test_subgroups_and_roots(world):
    def body(dist, tensor):
        x = tensor(lambda rank: [float(rank)])
        group = dist.new_group([2, 0])
        dist.all_reduce(x, group=group)
        dist.barrier()
        return [x]

    same(world(body, 3), [[[2.0]], [[1.0]], [[2.0]]])


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(), (1,), (7,), (3, 5), (0,), (2, 0)]),
    dtype=st.sampled_from(["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool", "complex64"]),
    op=st.sampled_from(["SUM", "MIN", "MAX", "PRODUCT"]),
    size=st.sampled_from([2, 3]),
)
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
def test_virtual_and_processes_have_the_same_bits(seed, shape, dtype, op, size):
    if dtype == "complex64" and op != "SUM":
        op = "SUM"

    def body(dist, tensor):
        x = tensor(lambda rank: (np.random.default_rng([seed, rank]).normal(0, 9, shape)).astype(dtype))
        y = tensor(lambda rank: numbers(rank, (size * 3,), dtype))
        out = tensor(lambda rank: np.zeros(3, dtype))
        dist.all_reduce(x, op=getattr(dist.ReduceOp, op))
        dist.reduce_scatter_single(out, y, op=getattr(dist.ReduceOp, op))
        return [x, out]

    for a, b in zip(virtual(body, size), processes(body, size), strict=True):
        for one, other in zip(a, b, strict=True):
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.real
@needs_torch
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(1,), (7,), (3, 5), (0,), ()]),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64", "uint8"]),
    op=st.sampled_from(["SUM", "MIN", "MAX", "PRODUCT"]),
)
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
def test_processes_agree_with_torch(seed, shape, dtype, op):
    """Whole numbers: float sums of gloo differ in their last bits, since its order is another."""

    def body(dist, tensor):
        x = tensor(lambda rank: np.random.default_rng([seed, rank]).integers(0, 9, shape).astype(dtype))
        dist.all_reduce(x, op=getattr(dist.ReduceOp, op))
        y = tensor(lambda rank: np.random.default_rng([seed, rank, 1]).integers(0, 9, shape).astype(dtype))
        dist.broadcast(y, 1)
        return [x, y]

    for ours, torchs in zip(processes(body, 3), torch_gloo(body, 3), strict=True):
        for a, b in zip(ours, torchs, strict=True):
            np.testing.assert_array_equal(a, b)


LARGE = 30_011  # elements: more than travels with the first round, and not divisible by the ranks


def test_large_data_has_the_bits_of_small_data():
    """Folded in place by reading memory, against the virtual world; nodes of two ranks, the last of one."""

    def shard(rank):
        return np.random.default_rng(rank).normal(size=LARGE).astype("float32")

    def body(rank):
        a, b = shard(rank), np.zeros((5, LARGE), "float32")
        strided = np.zeros((LARGE, 2), "float32")
        strided[:, 0] = a
        dist.all_reduce(a)
        dist.all_reduce(strided[:, 0])
        dist.all_gather_single(b, shard(rank))
        outs = [np.zeros(LARGE, "float32") for _ in range(5)]
        dist.all_gather(outs, shard(rank))
        c = shard(rank)
        dist.broadcast(c, 3)
        d = np.zeros(LARGE // 5, "float32")
        dist.reduce_scatter_single(d, shard(rank)[: LARGE // 5 * 5])
        e = [np.zeros(LARGE, "float32") for _ in range(5)] if rank == 1 else None
        dist.gather(shard(rank), e, 1)
        f = np.zeros(LARGE, "float32")
        dist.scatter(f, [shard(k + 10) for k in range(5)] if rank == 2 else None, 2)
        g = [np.zeros(LARGE + k, "float32") for k in range(5)]
        dist.all_to_all(g, [np.full(LARGE + rank, 10 * rank + k, "float32") for k in range(5)])
        mean = shard(rank)
        dist.all_reduce(mean, dist.ReduceOp.AVG)
        return [a, strided[:, 0].copy(), b, np.stack(outs), c, d, e and np.stack(e), f, [x[[0, -1]] for x in g], mean]

    found = values(ranks(body, 5, ranks_per_node=2))
    everyone = np.stack([shard(rank) for rank in range(5)])
    want = dist.fold_world(everyone, dist.ReduceOp.SUM, 2)
    block = LARGE // 5
    for rank, (a, s, b, outs, c, d, e, f, g, mean) in enumerate(found):
        assert a.tobytes() == s.tobytes() == want.tobytes()
        assert b.tobytes() == outs.tobytes() == everyone.tobytes()
        assert c.tobytes() == everyone[3].tobytes()
        assert d.tobytes() == want[rank * block : (rank + 1) * block].tobytes()
        assert (e is not None) == (rank == 1) and (e is None or e.tobytes() == everyone.tobytes())
        assert f.tobytes() == shard(rank + 10).tobytes()
        assert [x.tolist() for x in g] == [[10.0 * k + rank] * 2 for k in range(5)]
        assert mean.tobytes() == (want / np.float32(5)).tobytes()


def test_outputs_that_share_memory_with_inputs():
    def body(rank):
        whole = np.zeros((3, LARGE))
        whole[rank] = rank + 1
        dist.all_gather_single(whole, whole[rank])  # in place, as NCCL allows
        x, y, z = (np.full(LARGE, rank + 1.0) for _ in range(3))
        dist.all_gather([x, y, z], x)
        blocks = np.arange(3.0 * LARGE).reshape(3, LARGE)
        dist.reduce_scatter_single(blocks[rank], blocks)
        parts = [np.full(LARGE, 10.0 * rank + k) for k in range(3)]
        dist.all_to_all(parts, parts)
        return [
            whole[:, 0].tolist(),
            [each[-1] for each in (x, y, z)],
            float(blocks[rank][5]),
            [p[0] for p in parts],
        ]

    for rank, found in enumerate(values(ranks(body, 3))):
        assert found == [[1, 2, 3], [1, 2, 3], 3.0 * (rank * LARGE + 5), [10.0 * k + rank for k in range(3)]]


def test_views_zero_dimensional_and_empty_arrays():
    def body(rank):
        table = np.full((4, 6), float(rank))
        dist.all_reduce(table[::2, 1::2])
        scalar, empty = np.array(rank), np.zeros((0, 3))
        dist.all_reduce(scalar)
        dist.broadcast(empty, 0)
        outs = [np.array(-1) for _ in range(3)]
        dist.all_gather(outs, np.array(rank))
        return [table.sum(), scalar.item(), [out.item() for out in outs]]

    for rank, found in enumerate(values(ranks(body, 3))):
        assert found == [18 * rank + 6 * 3, 3, [0, 1, 2]]


def test_uneven_splits():
    def body(rank):
        rows = np.arange(6.0).reshape(3, 2) + 10 * rank
        out = np.zeros((2 if rank == 0 else 4, 2))
        dist.all_to_all_single(out, rows, [1, 1] if rank == 0 else [2, 2], [1, 2])
        return out[:, 0].tolist()

    assert values(ranks(body, 2)) == [[0, 10], [2, 4, 12, 14]]


def test_coalesced():
    def body(rank):
        a, b = np.full(2, 1.0 + rank), np.array([rank])
        with pytest.warns(FutureWarning, match="all_reduce_coalesced` will be deprecated"):
            dist.all_reduce_coalesced([a, b])
        outs = [[np.zeros(2), np.zeros(1, int)] for _ in range(2)]
        with pytest.warns(FutureWarning):
            dist.all_gather_coalesced(outs, [np.full(2, 1.0 * rank), np.array([rank])])
        return [a.tolist(), b.tolist(), [[x.tolist() for x in each] for each in outs]]

    assert values(ranks(body, 2)) == [[[3.0, 3.0], [1], [[[0.0, 0.0], [0]], [[1.0, 1.0], [1]]]]] * 2
