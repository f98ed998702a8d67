"""``ReplicaTensor``: in every use a tensor with a number for each rank, however late it makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.replica_tensor import ReplicaTensor
from fake_torch_dist import LocalTensor

REPLICAS = np.array([0.1, 1.7, 2.3])
REPLICA_OF = np.array([0, 0, 1, 1, 2, 2])
BY_RANK = REPLICAS[REPLICA_OF]


def replica_tensor() -> ReplicaTensor:
    return ReplicaTensor(REPLICAS.copy(), REPLICA_OF)


@pytest.mark.parametrize(
    "use",
    [
        lambda tensor: tensor + 1, lambda tensor: 0.5 + tensor, lambda tensor: tensor - tensor,
        lambda tensor: tensor * 2.0, lambda tensor: 1.0 / tensor, lambda tensor: -tensor, lambda tensor: tensor < 2.0,
        lambda tensor: tensor.clone(), lambda tensor: tensor.detach(), lambda tensor: tensor + tensor.detach(),
        lambda tensor: LocalTensor(BY_RANK.copy()) + tensor, lambda tensor: tensor + LocalTensor(BY_RANK.copy()),
    ],
)  # fmt: skip
def test_results_have_the_bits_of_a_tensor_by_rank(use: Callable[[Any], LocalTensor]) -> None:
    assert use(replica_tensor()).shards.tolist() == use(LocalTensor(BY_RANK.copy())).shards.tolist()


@given(st.lists(st.sampled_from(["add", "look", "view", "scale", "plain"]), max_size=6))
def test_any_sequence_of_changes_in_place_has_the_bits_of_a_tensor_by_rank(changes: list[str]) -> None:
    found: list[list[float]] = []
    micro_losses: list[LocalTensor] = [replica_tensor(), LocalTensor(BY_RANK.copy())]
    for loss in micro_losses:
        total: Any = 0.0 + loss.detach()
        for change in changes:
            if change == "add":
                total += loss.detach()
            elif change == "look":
                assert total.shards.shape == BY_RANK.shape
            elif change == "view":
                total = total.detach()
            elif change == "scale":
                total /= 3.0
            else:
                total += LocalTensor(BY_RANK.copy())
        found.append(total.shards.tolist())
        assert loss.shards.tolist() == BY_RANK.tolist()
    assert found[0] == found[1]


def test_views_share_their_memory() -> None:
    tensor = replica_tensor()
    view = tensor.detach()
    view += 1.0
    assert tensor.shards.tolist() == (BY_RANK + 1.0).tolist()
    assert tensor.clone().shards is not tensor.shards


def test_changes_in_place_leave_the_numbers_that_it_is_made_of() -> None:
    numbers = REPLICAS.copy()
    for change in (lambda tensor: tensor.__iadd__(tensor.detach()), lambda tensor: tensor.__imul__(2.0)):
        change(ReplicaTensor(numbers, REPLICA_OF))
        assert numbers.tolist() == REPLICAS.tolist()
