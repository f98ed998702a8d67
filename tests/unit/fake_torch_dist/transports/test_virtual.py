"""The virtual transport folds by node, whatever ranks a group has and in whatever order."""

from datetime import timedelta

import numpy as np
import pytest

from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.runner import InlineRunner
from fake_torch_dist.transports.virtual import VirtualTransport

A, B, C, D, E = VALUES = np.random.default_rng(5).normal(size=5).tolist()


@pytest.mark.parametrize(
    ("ranks", "want"),
    [
        ([0, 1, 2, 3, 4], ((A + B) + (C + D)) + E),  # nodes {0,1} {2,3} {4}
        ([1, 2, 3, 5, 6], ((A + (B + C)) + D) + E),  # nodes {1} {2,3} {5} {6}
        ([2, 0, 3, 1, 9], ((B + D) + (A + C)) + E),  # in group order 2 0 3 1 9: node 0 first
    ],
)
def test_members_of_a_node_are_folded_together(ranks, want):
    folded = InlineRunner().run(
        VirtualTransport(ranks, 2).all_fold(np.array(VALUES), np.add, Call("", "", ())), ranks, timedelta(0)
    )
    assert folded.item().hex() == want.hex()
