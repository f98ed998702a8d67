"""The endpoint of several hosts by a name that comes late, leads to loopback here, or belongs to no host."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.hosts import endpoint as module
from fake_torch_dist.launcher.hosts.endpoint import Endpoint
from fake_torch_dist.stores import own_addresses, resolving, sockets
from tests.support.free_ports import free_port

EVERYWHERE = ("::", "0.0.0.0")
ELSEWHERE = "192.0.2.1"
"""An address that is no host's (RFC 5737)."""


class Resolver:
    """Knows a name from its ``late``-th look-up on."""

    def __init__(self, address: str, late: int = 0) -> None:
        self.address = address
        self.late = late
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        self.asked += 1
        if self.asked <= self.late:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, (self.address, port))]


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "of this job")
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.001)


def resolve_by(monkeypatch: pytest.MonkeyPatch, resolver: Resolver) -> Resolver:
    for each in (module, resolving, own_addresses, sockets):
        monkeypatch.setattr(each, "addresses", resolver)
    return resolver


@pytest.fixture
def notes() -> Iterator[list[str]]:
    yield []


def at(host: str, is_host: bool | None, wait_s: float = 60.0) -> Endpoint:
    return Endpoint(host, free_port(), is_host is not None, -1, is_host, wait_s, "--rdzv-conf join_timeout", 30.0)


@pytest.mark.parametrize("address", [ELSEWHERE, "127.0.1.1"])
def test_who_is_to_host_needs_no_name(monkeypatch: pytest.MonkeyPatch, notes: list[str], address: str) -> None:
    resolve_by(monkeypatch, Resolver(address, late=1000 if address == ELSEWHERE else 0))
    listener = at("job-node-0-0.job", is_host=True).listen(notes.append)
    assert listener
    with listener:
        assert listener.getsockname()[0] in EVERYWHERE
    assert notes == []


@pytest.mark.parametrize("address", ["127.0.1.1", ELSEWHERE])
def test_a_late_name_is_waited_for_at_a_c10d_endpoint(
    monkeypatch: pytest.MonkeyPatch, notes: list[str], address: str
) -> None:
    """Whoever has the address then hosts the job."""
    resolver = resolve_by(monkeypatch, Resolver(address, late=5))
    listener = at("late", is_host=None).listen(notes.append)
    assert (listener is None) == (address == ELSEWHERE)
    if listener:
        listener.close()
    assert resolver.asked > 5
    assert notes == ["late can't be resolved yet (Name or service not known), which is tried for 60 s"]


def test_a_pod_knows_its_own_name_before_the_resolver(monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> None:
    resolve_by(monkeypatch, Resolver(ELSEWHERE, late=1000))
    monkeypatch.setattr(socket, "gethostname", lambda: "job-node-0-0")
    listener = at("job-node-0-0.job", is_host=None).listen(notes.append)
    assert listener
    listener.close()
    assert notes == []


def test_a_name_that_never_comes_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> None:
    resolve_by(monkeypatch, Resolver(ELSEWHERE, late=10**9))
    with pytest.raises(DistNetworkError, match=r"never can't be resolved: .* --rdzv-conf is_host=1"):
        at("never", is_host=None, wait_s=0.05).listen(notes.append)


def test_a_second_launcher_of_the_host_joins_the_first(monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> None:
    resolve_by(monkeypatch, Resolver("127.0.1.1"))
    endpoint = at("here", is_host=None)
    listener = endpoint.listen(notes.append)
    assert listener
    with listener:
        assert endpoint.listen(notes.append) is None
