"""Nodes of a job whose environment does not say how large they are."""

from __future__ import annotations

import pytest

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.process.placement import Placement
from accelerate_sim.session.discovered_layout import laid_out

A, B, C = 11, 22, 33
NO_RANKS, NO_SIZES = [-1] * 6, [0] * 6


def at(rank: int, local_rank: int = -1) -> Placement:
    return Placement(rank=rank, local_rank=local_rank, world_size=6, local_world_size=0)


def test_hosts_are_nodes():
    place = laid_out(at(4), [A, A, B, B, C, C], NO_RANKS, NO_SIZES)
    assert (place.local_rank, place.local_world_size, place.node, place.num_nodes) == (0, 2, 2, 3)


def test_local_ranks_are_believed_on_one_host():
    place = laid_out(at(5, 1), [A] * 6, [0, 1, 0, 1, 0, 1], NO_SIZES)
    assert (place.local_rank, place.node, place.num_nodes) == (1, 2, 3)


def test_ranks_with_one_visible_device_each_are_counted_by_hosts_or_by_the_scheduler():
    by_hosts = laid_out(at(5, 0), [A] * 3 + [B] * 3, [0] * 6, NO_SIZES)
    assert (by_hosts.local_rank, by_hosts.num_nodes) == (0, 2)
    assert laid_out(at(5, 0), [A] * 6, [0] * 6, [1] * 6).num_nodes == 6


@pytest.mark.parametrize(
    "hosts, local_ranks",
    [
        ([A, A, A, A, B, B], NO_RANKS),
        ([A, B, A, B, A, B], NO_RANKS),
        ([A, A, A, B, B, B], [0, 0, 1, 1, 2, 2]),
        ([A] * 6, [0, 1, 2, 3, 0, 1]),
    ],
)
def test_what_makes_no_nodes_of_one_size_is_refused_alike_on_all_ranks(hosts: list[int], local_ranks: list[int]):
    texts = set()
    for rank in range(6):
        with pytest.raises(
            ConfigError, match=r"these make no nodes of one size\. Place as many ranks on each"
        ) as found:
            laid_out(at(rank, local_ranks[rank]), hosts, local_ranks, NO_SIZES)
        texts.add(str(found.value))
    assert len(texts) == 1
