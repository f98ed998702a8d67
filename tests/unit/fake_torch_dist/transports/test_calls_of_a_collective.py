"""The cost of a small collective in calls, which a thousand ranks on a few cores pay a thousand times."""

from __future__ import annotations

import sys

import numpy as np

import fake_torch_dist as dist
from tests.support.worlds import ranks, values

MOST_CALLS = 120
"""Calls of functions, C's included, in an all_reduce of a member that is no leader; 115 in Python 3.11."""
REPEATS = 20
"""A member that is woken before the answer is there makes more calls, so the fewest of several times count."""


def test_a_small_collective_makes_few_calls():
    def body(rank: int) -> int:
        array, counts = np.ones(1), []

        def count(_: object, event: str, __: object) -> None:
            counts[-1] += event in ("call", "c_call")

        for _ in range(REPEATS):
            counts.append(0)
            sys.setprofile(count)
            dist.all_reduce(array)
            sys.setprofile(None)
        return min(counts)

    of_leader, *of_others = values(ranks(body, 3))
    assert of_leader and max(of_others) <= MOST_CALLS
