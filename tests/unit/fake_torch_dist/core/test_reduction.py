"""Folds have the bits of a plain Python left fold, whichever way they are computed."""

import copy
import functools
import operator
import pickle

import numpy as np
import pytest

from fake_torch_dist import ReduceOp, fold, fold_world
from fake_torch_dist.core.reduce_op import _make_nccl_premul_sum

PYTHON = {"SUM": operator.add, "PRODUCT": operator.mul, "MIN": min, "MAX": max}


def python_fold_world(rows, step, ranks_per_node):
    nodes = [rows[i : i + ranks_per_node] for i in range(0, len(rows), ranks_per_node)]
    return functools.reduce(step, [functools.reduce(step, node) for node in nodes])


@pytest.mark.parametrize("op", PYTHON)
def test_scalars_have_the_bits_of_pythons_left_fold(op):
    for ranks, ranks_per_node in [(1, 1), (2, 1), (64, 8), (64, 64), (13, 4), (5, 99), (1024, 8)]:
        values = np.random.default_rng(ranks).normal(1.0, 0.3, ranks)
        want = python_fold_world(values.tolist(), PYTHON[op], ranks_per_node)
        got = fold_world(values, getattr(ReduceOp, op), ranks_per_node).item()
        assert got.hex() == want.hex(), (ranks, ranks_per_node)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "int8", "uint8", "int64", "bool"])
def test_every_dtype_and_both_ways_have_the_bits_of_a_left_fold(dtype):
    # Rows of 100 elements and more are added by another method.
    for shape in [(), (1,), (3, 5), (99,), (100,), (40, 70), (0,), (2, 0)]:
        shards = (np.random.default_rng(7).normal(0, 50, (12, *shape))).astype(dtype)
        for ranks_per_node in (1, 3, 4, 12):
            got = fold_world(shards, ReduceOp.SUM, ranks_per_node)
            with np.errstate(over="ignore"):  # numpy warns of int8 scalars that wrap
                want = python_fold_world(list(shards), np.add, ranks_per_node)
            assert (got.dtype, got.shape) == (np.dtype(dtype), shape), ranks_per_node
            assert np.asarray(got).tobytes() == np.asarray(want).tobytes(), (shape, ranks_per_node)


def test_order_is_part_of_the_result():
    values = np.array([1e16, 1.0, -1e16, 1.0])
    assert fold(values, ReduceOp.SUM) == 1.0
    assert fold_world(values, ReduceOp.SUM, 2) == 0.0


def test_nodes_of_uneven_size():
    values = np.random.default_rng(1).normal(size=7)
    a, b, c, d, e, f, g = values.tolist()
    assert fold_world(values, ReduceOp.SUM, [1, 4, 2]) == (a + (((b + c) + d) + e)) + (f + g)


@pytest.mark.parametrize("nodes", [[3, 3], 0, []])
def test_nodes_that_do_not_hold_the_ranks(nodes):
    with pytest.raises(ValueError, match="7 shards"):
        fold_world(np.zeros(7), ReduceOp.SUM, nodes)


def test_a_strided_or_read_only_array_is_folded_and_left_alone():
    values = np.random.default_rng(2).normal(size=(300, 8))
    frozen = np.broadcast_to(values[0], (4, 8))
    np.testing.assert_array_equal(fold(values.T, ReduceOp.SUM), functools.reduce(np.add, list(values.T)))
    np.testing.assert_array_equal(fold(frozen, ReduceOp.MAX), values[0])


def test_the_result_of_one_rank_is_a_copy():
    shards = np.zeros((1, 3))
    fold(shards, ReduceOp.SUM)[:] = 1
    assert shards.sum() == 0


def test_avg_divides_the_sum_once_by_the_number_of_ranks():
    values = np.random.default_rng(3).normal(size=24).astype("float32")
    assert fold_world(values, ReduceOp.AVG, 8) == fold_world(values, ReduceOp.SUM, 8) / np.float32(24)
    assert fold_world(values, ReduceOp.AVG, 8).dtype == np.float32


def test_premul_sum_scales_each_shard_first():
    values = np.array([0.1, 0.2, 0.3])
    assert fold(values, _make_nccl_premul_sum(3.0)) == (0.1 * 3.0 + 0.2 * 3.0) + 0.3 * 3.0


def test_integers_wrap_and_bits_combine():
    assert fold(np.full(4, 100, "int8"), ReduceOp.SUM) == -112
    assert fold(np.full(4, 100, "uint8"), ReduceOp.SUM) == 144
    bits = np.array([0b1100, 0b1010])
    assert [fold(bits, op) for op in (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR)] == [0b1000, 0b1110, 0b0110]
    flags = np.array([True, False])
    assert [bool(fold(flags, op)) for op in (ReduceOp.SUM, ReduceOp.PRODUCT)] == [True, False]


@pytest.mark.parametrize(
    ("op", "dtype", "error", "text"),
    [
        (ReduceOp.AVG, "int32", RuntimeError, "result type Float can't be cast to the desired output type Int"),
        (ReduceOp.AVG, "bool", RuntimeError, "output type Bool"),
        (_make_nccl_premul_sum(2.0), "int64", RuntimeError, "output type Long"),
        (ReduceOp.BAND, "float32", RuntimeError, "Cannot use ReduceOp.BAND with non-integral dtype"),
        (ReduceOp.MAX, "complex64", ValueError, "all_reduce does not support RedOpType.MAX on complex tensors"),
        (ReduceOp.PREMUL_SUM, "float32", ValueError, "carries no factor"),
        (ReduceOp.SUM, "U3", TypeError, "numbers and bool only"),
        ("sum", "float32", TypeError, "op must be a ReduceOp"),
        (0, "float32", TypeError, "op must be a ReduceOp"),
    ],
)
def test_what_cannot_be_reduced_says_so(op, dtype, error, text):
    with pytest.raises(error, match=text):
        fold(np.zeros(2, dtype), op)


def test_reduce_ops_look_like_torchs_and_survive_copying():
    assert str(ReduceOp.SUM) == "RedOpType.SUM"
    assert repr(ReduceOp.AVG) == "<RedOpType.AVG: 1>"
    assert pickle.loads(pickle.dumps(ReduceOp.MAX)) == copy.deepcopy(ReduceOp.MAX) == ReduceOp.MAX
    assert isinstance(ReduceOp.SUM, ReduceOp)


def test_reductions_are_numbers_and_members_of_two_classes():
    assert [int(op) for op in ReduceOp.RedOpType.__members__.values()] == list(range(9))
    assert ReduceOp.SUM == 0 != ReduceOp.MAX
    assert ["a", "b"][ReduceOp.AVG] == "b"
    assert ReduceOp.RedOpType.MIN is ReduceOp.MIN is ReduceOp.RedOpType(3)
    assert isinstance(ReduceOp.MIN, ReduceOp) and isinstance(ReduceOp.MIN, ReduceOp.RedOpType)
    with pytest.raises(ValueError, match="42 is not the number of a reduction"):
        ReduceOp.RedOpType(42)


def test_a_reduction_made_of_a_constant():
    made = ReduceOp(ReduceOp.MAX)
    assert made == ReduceOp.MAX == made != ReduceOp.SUM
    assert (made.op, hash(made), str(made)) == (ReduceOp.MAX, hash(ReduceOp.MAX), "RedOpType.MAX")
    assert made != 4 and not isinstance(made, ReduceOp.RedOpType)
    assert fold(np.array([1.0, 5.0, 2.0]), made) == 5
    for wrong in (4, "MAX", made, None):
        with pytest.raises(TypeError, match="ReduceOp takes one of its constants"):
            ReduceOp(wrong)


def test_copies_and_pickles_of_reductions():
    for op in (*ReduceOp.RedOpType.__members__.values(), ReduceOp(ReduceOp.MIN), _make_nccl_premul_sum(0.5)):
        for again in (copy.copy(op), copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
            assert (again, type(again), again.factor) == (op, type(op), op.factor)
    assert pickle.loads(pickle.dumps(ReduceOp.SUM)) is ReduceOp.SUM
