"""The addresses on which a server listens."""

from __future__ import annotations

from fake_torch_dist.stores.sockets import listen


def test_a_host_decides_where_to_listen():
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    with listen("localhost", 0) as listener:
        assert listener.getsockname()[0] in ("127.0.0.1", "::1")
    with listen("0.0.0.0", 0) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
