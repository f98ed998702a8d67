"""Collectives on the links of a cluster, against what nccl-tests measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim import catalog
from accelerate_sim.sim.layout import Group
from accelerate_sim.sim.speed.network import Network

MIB = 2**20
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
H100 = Network.of(catalog.gpu("H100-SXM"), 400)
SIZES = st.floats(1, 2**40)
GROUPS = st.builds(
    lambda per_domain, domains: Group(per_domain * domains, per_domain), st.integers(1, 8), st.integers(1, 64)
).filter(lambda group: group.size > 1)
MEASURED = {
    ("A100-80-SXM", 1): {2**16: 2.5, MIB: 18, 4 * MIB: 72, 16 * MIB: 106, 64 * MIB: 172, 256 * MIB: 194, 2**30: 229,
                         2**32: 234, 2**34: 235},
    ("H100-SXM", 1): {2**16: 5.9, MIB: 67, 4 * MIB: 135, 16 * MIB: 237, 64 * MIB: 362, 256 * MIB: 422, 2**30: 466,
                      2**32: 477, 2**34: 480},
    ("H200-SXM", 1): {2**16: 2.9, MIB: 39.9, 4 * MIB: 107, 16 * MIB: 220, 64 * MIB: 347, 256 * MIB: 436, 2**30: 464,
                      2**32: 473, 2**34: 482},
    ("B200", 1): {2**16: 2.2, MIB: 36, 4 * MIB: 76, 16 * MIB: 255, 64 * MIB: 401, 256 * MIB: 646, 2**30: 723,
                  2**32: 741, 2**34: 846},
    # Without 64 KiB: 0.04 GB/s were reported, three milliseconds, eight times as long as for 1 MiB.
    ("B200", 4): {MIB: 5.4, 4 * MIB: 18.9, 16 * MIB: 64, 64 * MIB: 157, 256 * MIB: 229, 2**30: 362, 2**32: 377,
                  2**34: 382},
}  # fmt: skip
"""All-reduce of nodes of 8: (GPU, nodes), then bytes and busbw in GB/s (stas00/ml-engineering; NVIDIA DGX Cloud)."""


@pytest.mark.parametrize("gpu, nodes", MEASURED)
def test_bus_bandwidth_is_what_was_measured(gpu: str, nodes: int) -> None:
    network, group = Network.of(catalog.gpu(gpu), 400), Group(8 * nodes, 8)
    measured = MEASURED[gpu, nodes]
    ours = {size: network.bandwidths("all_reduce", size, group)[2] / 1e9 for size in measured}
    assert ours == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("collective, busbw", [("all_gather", 361), ("reduce_scatter", 363)])
def test_other_collectives_are_rings(collective: str, busbw: float) -> None:
    """8 H200, large messages (stas00/ml-engineering)."""
    network = Network.of(catalog.gpu("H200-SXM"), 400)
    assert network.bandwidths(collective, 2**34, Group(8, 8))[2] / 1e9 == pytest.approx(busbw, rel=0.05)


def test_ring_over_nodes_reaches_its_share_of_the_nics() -> None:
    """382 GB/s on 4 x 8 B200 with 400 Gbit/s each; 37 GB/s of 50 on the wire."""
    busbw = Network.of(catalog.gpu("B200"), 400).bandwidths("all_reduce", 2**34, Group(32, 8))[2]
    assert busbw / 1e9 == pytest.approx(382, rel=0.1)


def test_smallest_message_takes_microseconds() -> None:
    """13 to 17 on 8 H100 up to 4 KiB (NVIDIA DGX Cloud)."""
    assert (
        13e-6 <= H100.seconds("all_reduce", 8, Group(8, 8)) <= H100.seconds("all_reduce", 4096, Group(8, 8)) < 17.1e-6
    )


@given(collective=st.sampled_from(COLLECTIVES), size=SIZES, group=GROUPS)
def test_bandwidths_are_bytes_over_time(collective: str, size: float, group: Group) -> None:
    """busbw / algbw is what nccl-tests says: 2 (n - 1) / n for an all-reduce, (n - 1) / n for the others."""
    seconds, algorithm, bus = H100.bandwidths(collective, size, group)
    assert algorithm == pytest.approx(size / seconds)
    sends = 2 if collective == "all_reduce" else 1
    assert bus / algorithm == pytest.approx(sends * (group.size - 1) / group.size)


@given(collective=st.sampled_from(COLLECTIVES), size=SIZES, group=GROUPS)
def test_links_carry_no_more_than_they_can(collective: str, size: float, group: Group) -> None:
    _, algorithm, bus = H100.bandwidths(collective, size, group)
    if group.num_domains == 1:
        # A switch that adds up moves each byte of an all-reduce once, a ring nearly twice.
        assert min(bus, algorithm if collective == "all_reduce" else bus) < 450e9
    else:
        assert bus * (group.size - group.per_domain) / (group.size - 1) < 50e9 * group.per_domain


@given(collective=st.sampled_from(COLLECTIVES), size=SIZES, more=st.floats(1.001, 100), group=GROUPS)
def test_larger_messages_take_longer_and_use_the_links_better(
    collective: str, size: float, more: float, group: Group
) -> None:
    small, large = (H100.bandwidths(collective, each, group) for each in (size, more * size))
    assert large[0] > small[0]
    assert large[2] > small[2]


@given(
    collective=st.sampled_from(COLLECTIVES), size=SIZES, group=GROUPS, nvlink=st.floats(1e10, 1e12),
    nic=st.floats(1e9, 2e11), faster=st.floats(1, 10),
)  # fmt: skip
def test_faster_links_never_slow_down(
    collective: str, size: float, group: Group, nvlink: float, nic: float, faster: float
) -> None:
    base = Network(nvlink, nic, False).seconds(collective, size, group)
    assert Network(nvlink * faster, nic, False).seconds(collective, size, group) <= base
    assert Network(nvlink, nic * faster, False).seconds(collective, size, group) <= base
    assert Network(nvlink, nic, True).seconds(collective, size, group) <= base


def test_alone_there_is_nothing_to_wait_for() -> None:
    assert H100.seconds("all_reduce", 1e9, Group(1, 1)) == 0


def test_without_nvlink_there_is_pcie() -> None:
    pcie = Network.of(catalog.gpu("L40S"), None)
    assert pcie.bandwidths("all_reduce", 2**30, Group(8, 8))[2] < 32e9


def test_a_library_for_experts_sends_faster_than_an_all_to_all() -> None:
    """DeepEP's README: tokens leave a domain of 8 H800 at 43 GB/s of the NIC's 50, three other domains at once."""
    size = 64 * MIB
    seconds = H100.dispatched_s(size)
    assert 0.8 < size / seconds / H100.nic_bytes_per_s < 0.87
    assert seconds < H100.seconds("all_to_all", size * 4 / 3, Group(32, 8))
    efa = Network.of(catalog.gpu("H100-SXM"), 400, "efa")
    assert efa.dispatched_s(size) > 1.9 * seconds
