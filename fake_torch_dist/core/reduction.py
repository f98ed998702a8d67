"""Reductions as pure functions over one array with a leading axis of ranks.

Float addition is not associative, so the order is part of the result. It is always the same here: a left fold in rank
order, inside each node by local rank and then across the nodes by node rank. Every transport keeps it, so one process
that plays 64 ranks and 64 processes that play one each get the same bits.

What this module does not do: groups, messages, writing results back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import whole_number, whole_numbers, wrong_kind
from fake_torch_dist.core.reduce_op import ReduceOp

Array: TypeAlias = npt.NDArray[Any]

UFUNCS: Final[dict[str, np.ufunc]] = {
    "SUM": np.add,
    "AVG": np.add,
    "PRODUCT": np.multiply,
    "MIN": np.minimum,
    "MAX": np.maximum,
    "BAND": np.bitwise_and,
    "BOR": np.bitwise_or,
    "BXOR": np.bitwise_xor,
    "PREMUL_SUM": np.add,
}
"""The function that folds two shards, by the name of the reduction. ``before`` and ``after`` complete AVG and
PREMUL_SUM."""

_LOOP_FROM = 100
"""Elements per row from which a Python loop over rows beats ``ufunc.accumulate``, which costs about 4 ns for every
element where the loop costs 400 ns for every row and almost nothing for an element."""


def fold(shards: Array, op: ReduceOp) -> Array:
    """Left fold of ``shards``, shape (ranks, \\*shape), in the order given; returns a new array or scalar of ``shape``.

    Errors: TypeError for anything but an ndarray with an axis of ranks, ValueError without a rank; TypeError,
    ValueError or RuntimeError of ``check_op`` when ``op`` cannot reduce this dtype.
    """
    _check_shards(shards)
    check_op(op, shards.dtype)
    return after(fold_rows(before(shards, op), UFUNCS[op.name]), op, len(shards))


def fold_world(shards: Array, op: ReduceOp, ranks_per_node: int | Sequence[int]) -> Array:
    """Fold inside each node by local rank, then across nodes by node rank; shapes and errors as ``fold``.

    ``ranks_per_node`` is one number (the last node may hold fewer) or the number of ranks on each node in turn.
    """
    _check_shards(shards)
    if isinstance(ranks_per_node, Iterable):
        ranks_per_node = whole_numbers("ranks_per_node", ranks_per_node)
    else:
        ranks_per_node = whole_number("ranks_per_node", ranks_per_node, "int or List[int]")
    if np.any(np.less(ranks_per_node, 1)):
        raise ValueError(f"ranks_per_node = {ranks_per_node} for {len(shards)} shards: a node has at least one rank")
    check_op(op, shards.dtype)
    return after(fold_nodes(before(shards, op), UFUNCS[op.name], ranks_per_node), op, len(shards))


def _check_shards(shards: object) -> None:
    if not isinstance(shards, np.ndarray) or not shards.ndim:
        raise wrong_kind("shards", "numpy.ndarray with a leading axis of ranks", shards)
    if not len(shards):
        raise ValueError(f"nothing to fold: no rank's shard in an array of shape {shards.shape}")


def fold_nodes(shards: Array, ufunc: np.ufunc, ranks_per_node: int | Sequence[int]) -> Array:
    """``fold_world`` without checks, ``before`` and ``after``."""
    ranks = len(shards)
    if not ranks or not ranks_per_node:
        raise ValueError(f"nothing to fold: {ranks} shards, {ranks_per_node} ranks per node")
    if isinstance(ranks_per_node, int):
        if ranks_per_node >= ranks or ranks_per_node == 1:
            return fold_rows(shards, ufunc)
        nodes, rest = divmod(ranks, ranks_per_node)
        if rest == 0:
            by_local_rank = shards.reshape(nodes, ranks_per_node, *shards.shape[1:]).swapaxes(0, 1)
            return fold_rows(fold_rows(by_local_rank, ufunc), ufunc)
        ranks_per_node = [ranks_per_node] * nodes + [rest]
    ends = np.cumsum(ranks_per_node)
    if ends[-1] != ranks:
        raise ValueError(
            f"nodes of {list(ranks_per_node)} ranks hold {ends[-1]} together, but there are {ranks} shards"
        )
    per_node = [fold_rows(shards[end - size : end], ufunc) for end, size in zip(ends, ranks_per_node, strict=True)]
    return fold_rows(np.stack(per_node), ufunc)


def fold_rows(rows: Array, ufunc: np.ufunc) -> Array:
    """Strict left fold along axis 0, by whichever of two ways is faster; both give the same bits.

    ``ufunc.reduce`` is not a left fold: along a contiguous axis it adds in pairs.
    """
    if len(rows) == 1:
        total: Array = rows[0].copy()
        return total
    if rows.size < _LOOP_FROM * len(rows):
        # The dtype is named because accumulate would widen small integers, and then they would not wrap.
        running: Array = ufunc.accumulate(rows, 0, rows.dtype)
        return running[-1, ...]
    total = ufunc(rows[0], rows[1])
    for row in rows[2:]:
        ufunc(total, row, out=total)
    return total


def before(shards: Array, op: ReduceOp) -> Array:
    """Each rank's shard as it enters the fold: PREMUL_SUM scales it, other reductions do not change it."""
    if op.factor is None:
        return shards
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Array = shards * shards.dtype.type(op.factor)
    return scaled


def after(total: Array, op: ReduceOp, ranks: int, out: Array | None = None) -> Array:
    """The result of a fold: AVG divides it by the number of ranks, in place if it is ``out``."""
    if op.name != "AVG":
        return total
    mean: Array = np.true_divide(total, total.dtype.type(ranks), out=out if total is out else None)
    return mean


_TORCH_DTYPE: Final = {"b": "Bool", "i1": "Char", "u1": "Byte", "i2": "Short", "i4": "Int", "i8": "Long"}


def check_op(op: ReduceOp, dtype: np.dtype[Any]) -> None:
    """Raise what torch raises when ``op`` cannot reduce ``dtype``; TypeError when ``op`` is no ReduceOp."""
    if not isinstance(op, ReduceOp):
        raise TypeError(f"op must be a ReduceOp such as ReduceOp.SUM, not {op!r}")
    kind = dtype.kind
    if kind == "f" and op.name in _ORDERED:
        return
    if kind not in "fiubc":
        raise TypeError(f"cannot reduce arrays of dtype {dtype}; numbers and bool only")
    if kind == "c" and op.name not in ("SUM", "AVG"):
        raise ValueError(errors.COMPLEX_REDUCTION.format(op=op.name))
    if kind == "f" and op.name in ("BAND", "BOR", "BXOR"):
        raise RuntimeError(errors.BITWISE_ON_NON_INTEGERS.format(op=op.name))
    if kind in "iub" and op.name in ("AVG", "PREMUL_SUM"):
        named = _TORCH_DTYPE.get(dtype.str[1:] if kind != "b" else "b", dtype.name)
        raise RuntimeError(errors.FRACTION_OF_INTEGERS.format(dtype=named))
    if op.name == "PREMUL_SUM" and op.factor is None:
        raise ValueError("ReduceOp.PREMUL_SUM carries no factor; make one with _make_nccl_premul_sum(factor)")


_ORDERED: Final = frozenset(("SUM", "AVG", "PRODUCT", "MIN", "MAX"))
"""Reductions that every real float allows: the usual case, decided first because a scalar fold takes about 1 us."""
