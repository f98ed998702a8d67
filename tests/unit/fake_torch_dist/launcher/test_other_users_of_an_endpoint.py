"""Several nodes with a command each on loopback, without a token: another user of the host neither hosts nor joins."""

from __future__ import annotations

import json
import os
import socket

import pytest

from fake_torch_dist.launcher.hosts.endpoint import Endpoint
from fake_torch_dist.launcher.hosts.join import JoinClient
from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.launcher.protocol.host_messages import JoinRequest
from tests.support.launched import Jobs
from tests.support.processes import until
from tests.support.strangers import DEADLINE_S, STRANGER, needs_root, stranger, told

pytestmark = needs_root
SCRIPT = "print('a rank runs')\n"


def flags(backend: str, port: int, node_rank: int) -> list[str]:
    if backend == "static":
        address = ["--node-rank", str(node_rank), "--master-addr", "127.0.0.1", "--master-port", str(port)]
        return ["--nnodes", "2", *address, "--rdzv-conf", "timeout=20"]
    address = ["--rdzv-backend", "c10d", "--rdzv-id", "job7", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    return ["--nnodes", "2", *address, "--rdzv-conf", "join_timeout=20"]


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        found: int = sock.getsockname()[1]
        return found


@pytest.mark.parametrize("backend", ["static", "c10d"])
def test_another_user_joins_no_job(jobs: Jobs, port: int, backend: str) -> None:
    endpoint = Endpoint("127.0.0.1", port, backend == "static", 1, False, DEADLINE_S, "", 0)
    request = JoinRequest(
        backend=backend, run_id="none" if backend == "static" else "job7", min_nodes=2, max_nodes=2,
        node_rank=1 if backend == "static" else -1, nproc_per_node=1, host="elsewhere", pid=1,
    )  # fmt: skip

    def attack() -> str:
        loop, said = EventLoop(), []

        def over(text: object) -> None:
            said.append(text)
            loop.stop()

        joining = JoinClient(loop, endpoint, b"", request)
        joining.begin(on_joined=over, on_failed=over, on_message=over, on_lost=lambda: over("lost"))
        loop.run()
        return str(said[0])

    victim = jobs.start(SCRIPT, *flags(backend, port, 0), LOGLEVEL="WARNING")
    with stranger(attack) as outcome:
        said = outcome()
    assert "does not take this one: what connects from there belongs to user 65534, and this process to user 0" in said
    assert victim.process.poll() is None, "it waits for its own nodes"
    assert "a rank runs" not in victim.out
    until(lambda: f"belongs to user {STRANGER}" in victim.err, "the refusal in the log")
    other = jobs.start(SCRIPT, *flags(backend, port, 1))
    assert [job.end().code for job in (victim, other)] == [0, 0]


@pytest.mark.parametrize("backend", ["static", "c10d"])
def test_another_user_hosts_no_job(jobs: Jobs, port: int, backend: str) -> None:
    reader, writer = os.pipe()

    def attack() -> str:
        with socket.create_server(("127.0.0.1", port)) as listener:
            os.write(writer, b"up")
            with listener.accept()[0] as guest, guest.makefile("r") as lines:
                assert json.loads(lines.readline())["kind"] == "hello"
                guest.sendall(json.dumps({"kind": "challenge", "nonce": "00" * 32, "descriptors": 0}).encode() + b"\n")
                return f"told {lines.readline()!r}"

    with stranger(attack) as outcome:
        told(reader)
        ended = jobs.run(SCRIPT, *flags(backend, port, 1))
        assert outcome() == "told ''"
    assert (ended.code, ended.out) == (1, "")
    assert f"what listens there belongs to user {STRANGER}, and this process to user 0" in ended.err
    assert "FAKE_TORCH_DIST_TOKEN" in ended.err and "Traceback" not in ended.err
    os.close(reader)
    os.close(writer)
