"""Results of each collective by rank; torch's argument errors."""

from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist import LocalTensor, ReduceOp


def ranks_of(size, *shape, dtype="float64"):
    """Rank r holds r * 10, r * 10 + 1, ..."""
    inner = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    return LocalTensor.from_ranks((np.arange(size).reshape(-1, *[1] * len(shape)) * 10 + inner).astype(dtype))


def zeros(size, *shape):
    return LocalTensor.from_ranks(np.zeros((size, *shape)))


@pytest.mark.parametrize(("op", "want"), [("SUM", 10.0), ("AVG", 2.5), ("PRODUCT", 24.0), ("MIN", 1.0), ("MAX", 4.0)])
def test_all_reduce_leaves_the_reduction_on_every_rank(virtual, op, want):
    virtual(4)
    x = LocalTensor.from_ranks([1.0, 2.0, 3.0, 4.0])
    assert dist.all_reduce(x, getattr(ReduceOp, op)) is None
    assert x.shards.tolist() == [want] * 4


def test_all_reduce_folds_nodes_first(virtual):
    values = np.random.default_rng(0).normal(size=24)
    virtual(24, 8)
    x = LocalTensor.from_ranks(values.copy())
    dist.all_reduce(x)
    nodes = [values[i : i + 8].tolist() for i in (0, 8, 16)]
    want = 0.0
    for n, node in enumerate(nodes):
        total = node[0]
        for value in node[1:]:
            total += value
        want = total if n == 0 else want + total
    assert x.item().hex() == want.hex()


def test_all_reduce_writes_through_a_view(virtual):
    virtual(2)
    array = np.ones((2, 4))
    dist.all_reduce(LocalTensor.from_ranks(array[:, ::2]))
    assert array.tolist() == [[2, 1, 2, 1]] * 2


def test_overflow_is_inf_without_a_warning(virtual, recwarn):
    virtual(2)
    x = LocalTensor.from_ranks(np.full(2, 3e38, "float32"))
    dist.all_reduce(x)
    assert x.item() == np.inf
    assert not recwarn.list


@pytest.mark.parametrize("members", [[1, 3], [0, 1, 3], [2]])
def test_a_subgroup_leaves_the_others_alone(virtual, members):
    virtual(4, 2)
    group = dist.new_group(members)
    x = ranks_of(4)
    dist.all_reduce(x, group=group)
    total = sum(10.0 * rank for rank in members)
    assert x.shards.tolist() == [total if rank in members else rank * 10 for rank in range(4)]


def test_an_unsorted_group_counts_in_its_own_order(virtual):
    virtual(3)
    group = dist.new_group([2, 0], sort_ranks=False)
    out = [zeros(3), zeros(3)]
    dist.all_gather(out, ranks_of(3), group)
    assert [o.shards.tolist() for o in out] == [[20, 0, 20], [0, 0, 0]]


def test_broadcast(virtual):
    virtual(4)
    x = ranks_of(4, 2)
    dist.broadcast(x, src=2)
    assert x.shards.tolist() == [[20, 21]] * 4
    y = ranks_of(4)
    dist.broadcast(y, group=dist.new_group([1, 3]), group_src=1)
    assert y.shards.tolist() == [0, 30, 20, 30]


def test_reduce_changes_the_destination_only(virtual):
    virtual(3)
    x = ranks_of(3)
    dist.reduce(x, dst=1)
    assert x.shards.tolist() == [0, 30, 20]


def test_all_gather(virtual):
    virtual(3)
    out = [zeros(3, 2) for _ in range(3)]
    dist.all_gather(out, ranks_of(3, 2))
    assert [o.shards.tolist() for o in out] == [[[10 * k, 10 * k + 1]] * 3 for k in range(3)]


def test_all_gather_may_write_over_its_input(virtual):
    virtual(2)
    x, y = ranks_of(2), zeros(2)
    dist.all_gather([x, y], x)
    assert (x.shards.tolist(), y.shards.tolist()) == ([0, 0], [10, 10])


@pytest.mark.parametrize(("shape", "out"), [((2,), (6,)), ((2,), (3, 2)), ((), (3,)), ((2, 1), (6, 1))])
def test_all_gather_single_joins_or_stacks(virtual, shape, out):
    virtual(3)
    x, y = ranks_of(3, *shape), zeros(3, *out)
    dist.all_gather_single(y, x)
    assert y.shards.tolist() == [x.shards.reshape(out).tolist()] * 3


@pytest.mark.parametrize(("shape", "out"), [((6,), (2,)), ((3, 2), (2,)), ((3,), ()), ((3,), (1,))])
def test_reduce_scatter_single_gives_rank_k_block_k(virtual, shape, out):
    virtual(3)
    x, y = ranks_of(3, *shape), zeros(3, *out)
    dist.reduce_scatter_single(y, x)
    assert y.shards.ravel().tolist() == x.shards.sum(axis=0).ravel().tolist()


def test_reduce_scatter_in_a_subgroup(virtual):
    virtual(3)
    x, y = ranks_of(3, 2), zeros(3)
    dist.reduce_scatter_single(y, x, ReduceOp.MAX, dist.new_group([0, 2]))
    assert y.shards.tolist() == [20, 0, 21]


def test_old_names_work_and_warn_as_torch(virtual):
    virtual(2)
    x, y = ranks_of(2), zeros(2, 2)
    with pytest.warns(FutureWarning, match="all_gather_into_tensor is deprecated. Please use .*all_gather_single"):
        dist.all_gather_into_tensor(y, x)
    with pytest.warns(FutureWarning, match="reduce_scatter_tensor is deprecated"):
        dist.reduce_scatter_tensor(x, y)
    assert x.shards.tolist() == [0, 20]


def test_gather_fills_the_destinations_lists_only(virtual):
    virtual(3)
    out = [zeros(3) for _ in range(3)]
    dist.gather(ranks_of(3), out, dst=1)
    assert [o.shards.tolist() for o in out] == [[0, 0, 0], [0, 10, 0], [0, 20, 0]]
    out = [zeros(3) for _ in range(2)]
    dist.gather(ranks_of(3), out, group=dist.new_group([0, 2]))  # no root: global rank 0
    assert [o.shards.tolist() for o in out] == [[0, 0, 0], [20, 0, 0]]


def test_scatter_hands_out_the_sources_list(virtual):
    virtual(3)
    x = zeros(3)
    dist.scatter(x, [ranks_of(3) + k for k in range(3)], src=2)
    assert x.shards.tolist() == [20, 21, 22]
    y = zeros(3)
    dist.scatter(y, [ranks_of(3) + 5, ranks_of(3) + 6], group=dist.new_group([1, 2]), group_src=0)
    assert y.shards.tolist() == [0, 15, 16]


def test_async_op_returns_a_work_that_is_done(virtual):
    virtual(2)
    x, y = ranks_of(2), zeros(2, 2)
    works = [
        dist.all_reduce(x, async_op=True),
        dist.broadcast(x, 0, async_op=True),
        dist.reduce(x, 0, async_op=True),
        dist.all_gather([x, x.clone()], x, async_op=True),
        dist.all_gather_single(y, x, async_op=True),
        dist.reduce_scatter_single(x, y, async_op=True),
        dist.gather(x, [x.clone(), x.clone()], async_op=True),
        dist.scatter(x, [x.clone(), x.clone()], async_op=True),
        dist.barrier(async_op=True),
    ]
    for work in works:
        assert work.wait(timedelta(seconds=1)) and work.wait()
        assert work.is_completed() and work.is_success() and work.exception() is None
    assert works[0].result()[0] is x
    assert works[0].get_future().then(lambda future: len(future.value())).wait() == 1


def test_zero_dimensional_and_empty_shards(virtual):
    virtual(2)
    for x in (ranks_of(2), ranks_of(2, 0), ranks_of(2, 3, 0)):
        dist.all_reduce(x)
        dist.broadcast(x, 0)
        dist.all_gather([x.clone(), x.clone()], x)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x, g: dist.all_reduce(np.zeros(3)), TypeError, r"got an ndarray of shape \(3,\).*from_ranks"),
        (lambda x, g: dist.all_gather(x, x), TypeError, r"parameter `tensor_list` of type List\[LocalTensor\]"),
        (lambda x, g: dist.all_reduce(x, "sum"), TypeError, "op must be a ReduceOp"),
        (lambda x, g: dist.all_reduce(zeros(2)), ValueError, "shards of 2 ranks, but this process plays 3"),
        (lambda x, g: dist.broadcast(x), ValueError, "Must specify global_rank or group_rank"),
        (lambda x, g: dist.reduce(x, 0, group_dst=0), ValueError, "Can't specify both group_rank and global_rank"),
        (lambda x, g: dist.broadcast(x, 99), RuntimeError, "broadcast: invalid root rank: 99"),
        (lambda x, g: dist.broadcast(x, -1), RuntimeError, "invalid root rank: -1"),
        (lambda x, g: dist.broadcast(x, 0, g), ValueError, "Global rank 0 is not part of group"),
        (lambda x, g: dist.reduce(x, group=g, group_dst=2), RuntimeError, "reduce: invalid root rank: 2"),
        (lambda x, g: dist.gather(x), ValueError, "``gather_list`` must be specified on destination rank"),
        (lambda x, g: dist.scatter(x), ValueError, "``scatter_list`` must be specified on source rank"),
        (lambda x, g: dist.gather(x, [x]), RuntimeError, r"gather: .*\(expected length 3, got 1\)"),
        (lambda x, g: dist.scatter(x, [x] * 4), RuntimeError, r"\(expected length 3, got 4\)"),
        (lambda x, g: dist.all_gather([x], x), RuntimeError, r"allgather: invalid output tensor list"),
        (lambda x, g: dist.all_gather([x, x, zeros(3, 2)], x), RuntimeError, r"at index 2 \(expected \(\), got \(2,\)"),
        (lambda x, g: dist.all_gather([ranks_of(3, dtype="int64")] * 3, x), ValueError, "different dtypes: int64 and"),
        (lambda x, g: dist.all_gather_single(zeros(3, 4), x), RuntimeError, r"got \(4,\)"),
        (lambda x, g: dist.reduce_scatter_single(x, zeros(3, 2)), RuntimeError, "reduce_scatter: invalid tensor size"),
        (lambda x, g: dist.barrier(device_ids=0), TypeError, "device_ids"),
        (lambda x, g: dist.barrier(timeout=3), TypeError, "Expected timeout"),
    ],
)  # fmt: skip
def test_wrong_arguments_change_nothing(virtual, call, error, text):
    virtual(3)
    x = ranks_of(3)
    with pytest.raises(error, match=text):
        call(x, dist.new_group([1, 2]))
    assert x.shards.tolist() == [0, 10, 20]


def test_all_gather_object(virtual):
    virtual(3)
    objects = [None] * 3
    dist.all_gather_object(objects, {"host": "a", "loss": ranks_of(3)})
    assert [o["loss"].item() for o in objects] == [0, 10, 20]
    assert objects[0]["loss"].num_ranks == 3
    objects[0]["host"] = "b"
    assert objects[1]["host"] == "a"
    pair = [None, None, "kept"]
    dist.all_gather_object(pair, ranks_of(3), dist.new_group([0, 2]))
    assert [pair[0].item(), pair[1].item(), pair[2]] == [0, 20, "kept"]
    with pytest.raises(IndexError, match="2 entries for 3 ranks"):
        dist.all_gather_object([None, None], 1)


def test_broadcast_object_list(virtual):
    virtual(3)
    objects = ["a", ranks_of(3)]
    dist.broadcast_object_list(objects, src=2)
    assert (objects[0], objects[1].item()) == ("a", 20)
    with pytest.raises(ValueError, match="smaller than the world"):
        dist.broadcast_object_list(objects, 0, dist.new_group([0, 1]))
