"""Names of a cluster's hosts: a name with numbers, a list, and those of the machines themselves."""

from __future__ import annotations

import socket

import pytest

from accelerate_sim.config.host_names import host_name, listed_hosts
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.process.own_hosts import own_hosts, with_own_hosts


def test_one_name_has_numbers():
    assert [host_name("node", node) for node in (0, 12)] == ["node0", "node12"]
    assert listed_hosts("node") == ()


@pytest.mark.parametrize(
    "text, names",
    [
        ("gpu-[007-009,12],login", ("gpu-007", "gpu-008", "gpu-009", "gpu-12", "login")),
        ("r[1-2]n[3,4]", ("r1n3", "r1n4", "r2n3", "r2n4")),
        ("a,b", ("a", "b")),
        ("alone,", ("alone",)),
    ],
)
def test_a_list_says_every_name(text: str, names: tuple[str, ...]):
    assert listed_hosts(text) == names
    assert [host_name(text, node) for node in range(len(names))] == list(names)


def test_a_list_that_is_too_short_is_refused():
    short = ConfigSource.read(None, ["cluster.host=gpu-[007-008]"])
    with pytest.raises(ConfigError, match=r"lists 2 names, and cluster\.nodes is 8\. Name as many hosts"):
        short.resolve()
    assert ConfigSource.read(None, ["cluster.host=gpu-[007-014]"]).resolve().cluster.host == "gpu-[007-014]"


@pytest.mark.parametrize(
    ("host", "part"),
    [("a b", " "), ("h1, h2", " "), ("a|b", r"\|"), ("rack/7", "/"), ("gpu-[1-", r"\["), ("gpu-1]", r"\]")],
)
def test_a_name_holds_nothing_that_divides_fields(host: str, part: str):
    with pytest.raises(
        ConfigError, match=rf"cluster\.host = '.*' holds '{part}', which is in no host name\. Use letters"
    ):
        ConfigSource.read(None, [f"cluster.host='{host}'"]).resolve()


@pytest.mark.parametrize(
    "environ, own, nodes, first, last",
    [
        ({"SLURM_JOB_NODELIST": "gpu[007-008]"}, "x", 2, "gpu007", "gpu008"),
        ({"SLURM_JOB_NODELIST": "gpu[007-008]", "SLURMD_NODENAME": "gpu007"}, "x", 1, "gpu007", "gpu007"),
        ({"FAKE_TORCHRUN_HOSTS": "h0,other", "SLURM_JOB_NODELIST": "a,b"}, "x", 2, "h0", "other"),
        ({"FAKE_TORCHRUN_NODE": "node0"}, "x", 2, "node0", "node1"),
        ({}, "job-node-0-0.job", 12, "job-node-0-0", "job-node-0-11"),
        ({}, "gpu000", 3, "gpu000", "gpu002"),
        ({}, "desk", 2, "desk-0", "desk-1"),
        ({}, "desk.example.org", 1, "desk", "desk"),
    ],
)
def test_the_machines_themselves(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], own: str, nodes: int, first: str, last: str
):
    monkeypatch.setattr(socket, "gethostname", lambda: own)
    host = own_hosts(environ, nodes)
    assert (host_name(host, 0), host_name(host, nodes - 1)) == (first, last)


def test_auto_is_the_names_of_the_machines_and_nothing_else_changes():
    source = ConfigSource.read(None, ["cluster.host=auto", "cluster.nodes=2"])
    config = with_own_hosts(source, {"SLURM_JOB_NODELIST": "gpu[007-008]"}).resolve()
    assert config.cluster.host == "gpu[007-008],"
    plain = ConfigSource.read(None, ["cluster.nodes=2"])
    assert with_own_hosts(plain, {"SLURM_JOB_NODELIST": "gpu[007-008]"}) is plain
