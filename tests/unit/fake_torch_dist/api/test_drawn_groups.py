"""Any groups, overlapping or not, any reductions: processes give what a plain fold of the members gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import fake_torch_dist as dist
from tests.support.worlds import ranks, values

SIZE = 4
OPS = ("SUM", "PRODUCT", "MIN", "MAX")
members = st.sets(st.integers(0, SIZE - 1), min_size=1).map(sorted)
calls = st.tuples(
    st.integers(0, 2), st.sampled_from(OPS), st.sampled_from(["float32", "int32", "float64"]), st.integers(0, 40)
)


def data(rank: int, number: int, dtype: str, count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng([number, rank]).integers(-5, 6, count).astype(dtype)


@settings(max_examples=8)
@given(groups=st.lists(members, min_size=3, max_size=3), plan=st.lists(calls, min_size=1, max_size=12))
def test_reductions_over_drawn_groups(groups: list[list[int]], plan: list[tuple[int, str, str, int]]):
    def body(rank: int) -> list[list[float]]:
        made = [dist.new_group(group) for group in groups]
        results: list[Any] = []
        pending: list[Any] = []
        for number, (which, op, dtype, count) in enumerate(plan):
            array = data(rank, number, dtype, count)
            results.append(array)
            if rank in groups[which]:
                pending.append(dist.all_reduce(array, op=getattr(dist.ReduceOp, op), group=made[which], async_op=True))
        for work in reversed(pending):
            work.wait()
        return [array.tolist() for array in results]

    found = values(ranks(body, SIZE))
    for number, (which, op, dtype, count) in enumerate(plan):
        shards = np.stack([data(rank, number, dtype, count) for rank in groups[which]])
        expected = np.asarray(dist.fold(shards, getattr(dist.ReduceOp, op))).tolist()
        for rank in range(SIZE):
            own = data(rank, number, dtype, count).tolist()
            assert found[rank][number] == (expected if rank in groups[which] else own)
