"""The addresses on which a server listens."""

from __future__ import annotations

import socket

import pytest

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.stores import own_addresses, resolving, sockets
from fake_torch_dist.stores.sockets import listen, listen_for_job

ANYWHERE = ("::", "0.0.0.0")
NAMES = {"late": None, "debian": "127.0.1.1", "service": "192.0.2.1", "localhost": "127.0.0.1"}
"""Addresses by name, as a resolver gives them that knows ``late`` not yet."""


def test_a_host_decides_where_to_listen():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    with listen("localhost", 0) as listener:
        assert listener.getsockname()[0] in ("127.0.0.1", "::1")
    with listen("0.0.0.0", 0) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        address = NAMES.get(host, host)
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, (address, port))]

    for module in (resolving, own_addresses, sockets):
        monkeypatch.setattr(module, "addresses", addresses)


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("host", ["late", "debian", "service", "192.0.2.1"])
def test_a_job_with_a_token_listens_where_its_host_can_be_reached(host: str):
    with listen_for_job(host, 0, b"secret") as listener:
        assert listener.getsockname()[0] in ANYWHERE


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_loopback_stays_loopback(host: str):
    with listen_for_job(host, 0, b"secret") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.usefixtures("resolver")
def test_without_a_token_nothing_listens_for_other_hosts():
    with listen_for_job("debian", 0, b"") as listener:
        assert listener.getsockname()[0] == "127.0.1.1"
    for host in ("late", "service"):
        with pytest.raises(DistNetworkError):
            listen_for_job(host, 0, b"")


@pytest.mark.usefixtures("resolver")
def test_the_address_of_this_host_towards_another(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(own_addresses, "outer_address", lambda: "10.77.0.10")
    assert own_addresses.own_address("localhost") == "127.0.0.1"
    assert own_addresses.own_address("127.0.0.1") == "127.0.0.1"
    assert own_addresses.own_address("debian") == "10.77.0.10"
    assert own_addresses.own_address("late") == "10.77.0.10"


@pytest.mark.usefixtures("resolver")
def test_a_name_of_this_host_is_known_before_it_resolves(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "job-node-0-0")
    assert own_addresses.is_own_name("job-node-0-0.job")
    assert own_addresses.is_own_name("debian")
    assert not own_addresses.is_own_name("late")
    assert not own_addresses.is_own_name("service")
