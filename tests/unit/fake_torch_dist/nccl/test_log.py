"""NCCL's lines follow from the topology: rings go through everybody once, trees reach everybody."""

import re

import pytest

from fake_torch_dist.nccl import log
from fake_torch_dist.nccl.communicator import CHANNELS, Communicator, Versions, binary_tree
from fake_torch_dist.nccl.log import lines


def communicator(rank: int, num_ranks: int = 16, ranks_per_node: int = 8) -> Communicator:
    return Communicator(rank, num_ranks, ranks_per_node, "node0", 34204 + rank, "job/0")


TOPOLOGIES = [(1, 8), (2, 8), (8, 8), (16, 8), (64, 8), (12, 8), (6, 2), (4, 1)]


@pytest.mark.parametrize(("num_ranks", "per_node"), TOPOLOGIES)
def test_a_ring_passes_every_rank_once_and_enters_each_node_once(num_ranks, per_node):
    comm = communicator(0, num_ranks, per_node)
    for channel in range(CHANNELS):
        ring = comm.ring(channel)
        assert sorted(ring) == list(range(num_ranks))
        crossings = sum(a // per_node != b // per_node for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
        assert crossings == (comm.num_nodes if comm.num_nodes > 1 else 0)


@pytest.mark.parametrize(("num_ranks", "per_node"), TOPOLOGIES)
def test_a_tree_has_one_root_and_parents_know_their_children(num_ranks, per_node):
    for channel in range(CHANNELS):
        links = [communicator(rank, num_ranks, per_node).tree(channel) for rank in range(num_ranks)]
        assert sum(parent == -1 for _, parent in links) == 1
        for rank, (children, parent) in enumerate(links):
            assert len(children) <= 3
            assert all(links[child][1] == rank for child in children)
            assert parent == -1 or rank in links[parent][0]


def test_the_tree_over_nodes_is_binary():
    for num_nodes in range(1, 40):
        below = [binary_tree(node, num_nodes)[1] for node in range(num_nodes)]
        assert sorted(child for children in below for child in children) == list(range(1, num_nodes))


def test_rings_and_trees_are_those_of_a_real_two_node_job():
    comm = communicator(0)
    assert comm.ring(0) == [0, 7, 6, 5, 4, 3, 2, 1, 8, 15, 14, 13, 12, 11, 10, 9]
    said = "\n".join(lines(comm, "INFO"))
    assert "Trees [0] 1/8/-1->0->-1 [1] -1/-1/-1->0->7 [2] 1/-1/-1->0->7 " in said
    assert "Channel 00/0 : 9[1] -> 0[0] [receive] via NET/IB/0/GDRDMA" in said
    assert "Channel 00/0 : 0[0] -> 7[7] via P2P/CUMEM" in said
    assert "Channel 07/0 : 0[0] -> 15[7] [send] via NET/IB/7/GDRDMA" in said


def test_all_ranks_name_one_communicator_at_their_own_addresses():
    said = ["\n".join(lines(communicator(rank), "INFO")) for rank in range(16)]
    assert len({re.search(r"commId (\S+)", text)[1] for text in said}) == 1
    assert len({re.search(r"comm (0x\S+)", text)[1] for text in said}) == 16
    assert all(f"rank {rank} nranks 16" in text for rank, text in enumerate(said))


def test_every_line_has_nccls_prefix():
    assert all(re.match(r"node0:\d+:\d+ \[3\] NCCL INFO \S", line) for line in lines(communicator(3), "info"))


def test_less_than_info_is_the_version_on_rank_0_alone():
    assert lines(communicator(0), "WARN") == lines(communicator(0), "VERSION") == ["NCCL version 2.27.7+cuda13.0"]
    assert lines(communicator(1), "WARN") == lines(communicator(0), None) == lines(communicator(0), "") == []


def test_the_versions_are_those_that_the_job_has():
    job = Communicator(0, 16, 8, "node0", 34204, "job/0", Versions("2.21.5", "12.4"))
    first, second = lines(job, "INFO")[:2]
    assert first.endswith("NCCL INFO cudaDriverVersion 12040")
    assert second.endswith("NCCL INFO NCCL version 2.21.5+cuda12.4")
    assert lines(job, "WARN") == ["NCCL version 2.21.5+cuda12.4"]


def test_lines_that_are_delayed_state_the_versions_that_are_known_later(monkeypatch, capsys):
    monkeypatch.setenv("NCCL_DEBUG", "VERSION")
    log.delay()
    log.print_lines(0, 2, 2, "job/0")
    assert capsys.readouterr().out == ""
    log.print_delayed(Versions("2.19.3", "12.8"))
    assert capsys.readouterr().out == "NCCL version 2.19.3+cuda12.8\n"
    log.print_lines(0, 2, 2, "job/0")
    assert capsys.readouterr().out == "NCCL version 2.27.7+cuda13.0\n"
