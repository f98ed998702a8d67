"""Algorithms and protocols of NCCL, and that they fit the times beside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim import catalog
from accelerate_sim.sim.layout import Group
from accelerate_sim.sim.speed.nccl_choice import LL_RATES, nccl_choice
from accelerate_sim.sim.speed.network import Network

KIB, MIB = 2**10, 2**20
H100, A100, L40S = (Network.of(catalog.gpu(name), None) for name in ("H100-SXM", "A100-80-SXM", "L40S"))
NODE = Group(8, 8)
COLLECTIVES = st.sampled_from(["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"])
GROUPS = st.builds(
    lambda per_domain, domains: Group(per_domain * domains, per_domain), st.integers(1, 8), st.integers(1, 64)
).filter(lambda group: group.size > 1)


def names(network: Network, collective: str, group: Group, sizes: range) -> list[str]:
    return [str(nccl_choice(network, collective, 2**power, group)) for power in sizes]


def test_all_reduce_of_a_hopper_node_switches_where_it_was_seen_to() -> None:
    """RING/LL up to 1 MiB, NVLS/SIMPLE from 2 MiB (NVIDIA DGX Cloud nccl/README, 2025)."""
    assert set(names(H100, "all_reduce", NODE, range(3, 21))) == {"Ring/LL"}
    assert set(names(H100, "all_reduce", NODE, range(21, 35))) == {"NVLS/Simple"}


def test_without_reduction_in_the_switch_it_is_a_ring() -> None:
    for network, group in ((A100, NODE), (H100, Group(4, 4))):
        found = names(network, "all_reduce", group, range(10, 33))
        assert list(dict.fromkeys(found)) == ["Ring/LL", "Ring/LL128", "Ring/Simple"]


def test_gathers_and_scatters_are_rings() -> None:
    for group in (NODE, Group(64, 8), Group(8, 1)):
        for collective in ("all_gather", "reduce_scatter"):
            assert all(name.startswith("Ring/") for name in names(H100, collective, group, range(3, 36)))


def test_many_nodes_take_trees_for_small_messages_and_rings_for_large_ones() -> None:
    """A ring's latency grows with the nodes, so the larger the job, the larger the messages that trees carry."""
    turns = []
    for nodes in (8, 64, 512):
        found = [name.partition("/")[0] for name in names(H100, "all_reduce", Group(8 * nodes, 8), range(3, 40))]
        assert list(dict.fromkeys(found)) == ["Tree", "Ring"]
        turns.append(found.index("Ring"))
    assert turns == sorted(set(turns))


def test_two_nodes_with_fast_adapters_add_up_in_their_switches() -> None:
    """Their network is faster than a ring inside a node."""
    assert names(H100, "all_reduce", Group(16, 8), range(28, 36)) == ["NVLSTree/Simple"] * 8


def test_pcie_has_no_ll128() -> None:
    assert list(dict.fromkeys(names(L40S, "all_reduce", NODE, range(3, 33)))) == ["Ring/LL", "Ring/Simple"]


@given(collective=COLLECTIVES, size=st.floats(1, 2**36), more=st.floats(1, 1000), group=GROUPS)
def test_larger_messages_never_go_back_to_a_protocol_for_small_ones(
    collective: str, size: float, more: float, group: Group
) -> None:
    order = ("LL", "LL128", "Simple")
    small, large = (nccl_choice(H100, collective, each, group) for each in (size, size * more))
    if small.algorithm == large.algorithm:
        assert order.index(small.protocol) <= order.index(large.protocol)


@pytest.mark.parametrize("name", ["H100-SXM", "H200-SXM", "A100-80-SXM", "B200"])
@given(collective=st.sampled_from(["all_reduce", "all_gather"]), size=st.floats(1, 2**36), group=GROUPS)
def test_times_are_possible_with_the_protocol_beside_them(
    name: str, collective: str, size: float, group: Group
) -> None:
    """LL moves no more than its flags leave room for, a ring no more than the links without the switch's sums."""
    network = Network.of(catalog.gpu(name), 400)
    choice = nccl_choice(network, collective, size, group)
    busbw = network.bandwidths(collective, size, group)[2]
    if choice.protocol == "LL":
        assert busbw < 1.1 * LL_RATES[min(group.num_domains - 1, 2)]
    if not choice.algorithm.startswith("NVLS"):
        assert busbw < 0.9 * network.nvlink_bytes_per_s
