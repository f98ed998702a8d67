"""The ports and the GPUs of the exporters of a job's nodes."""

from __future__ import annotations

import pytest

from accelerate_sim.config.schema import LogConfig
from accelerate_sim.process.placement import Placement
from accelerate_sim.session.node_exporters import address_of, served_ranks


def first_of(node: int, nodes: int = 4, per_node: int = 2) -> Placement:
    """The first rank of a node."""
    return Placement(node * per_node, 0, nodes * per_node, per_node)


@pytest.mark.parametrize(
    ("machines", "ports"),
    [
        ("aaaa", [9400, 9401, 9402, 9403]),
        ("abcd", [9400, 9400, 9400, 9400]),
        ("aabb", [9400, 9401, 9400, 9401]),
        ("abab", [9400, 9400, 9401, 9401]),
    ],
    ids=["one machine", "four", "two in blocks", "two by turns"],
)
def test_each_machine_counts_its_nodes_from_the_port(machines, ports):
    hosts = [ord(machine) for machine in machines for _ in range(2)]
    found = [address_of("0.0.0.0:9400", first_of(node), hosts) for node in range(4)]
    assert found == [f"0.0.0.0:{port}" for port in ports]


def test_any_free_port_is_any_free_port_on_each_node():
    assert {address_of("[::1]:0", first_of(node), [1] * 8) for node in range(4)} == {"[::1]:0"}


@pytest.mark.parametrize(
    ("per", "placement", "ranks"),
    [
        ("job", None, None),
        ("node", None, None),
        ("job", first_of(0), None),
        ("node", first_of(0), range(0, 2)),
        ("node", first_of(3), range(6, 8)),
        ("node", Placement(4, 4, 16, 8).playing(1), range(0, 8)),
    ],
)
def test_an_exporter_serves_the_job_or_its_node(per, placement, ranks):
    assert served_ranks(LogConfig(prometheus_per=per), placement) == ranks


def test_the_process_of_a_node_serves_the_ranks_that_it_plays():
    node = Placement(3, 0, 4, 1).playing(8)
    assert served_ranks(LogConfig(prometheus_per="node"), node) == node.ranks == range(24, 32)
