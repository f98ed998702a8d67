"""A server process ends with its users."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fake_torch_dist.stores import TCPStore
from fake_torch_dist.stores.server_process import fork_server
from tests.support.processes import state_of, until


def server_processes(group: int) -> set[int]:
    """Processes of a process group that call themselves dist-store and are not dead."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                _, _, rest = (entry / "stat").read_text().partition("(")
            except OSError:
                continue
            name, _, fields = rest.rpartition(") ")
            state, _, of_group, *_ = fields.split()
            if name == "dist-store" and state != "Z" and int(of_group) == group:
                found.add(int(entry.name))
    return found


def new_server(before: set[int]) -> int:
    """The server process that this process has started since; it gives itself its name at once, but after the fork."""
    until(lambda: server_processes(os.getpgrp()) - before, "a new server process has its name", 5)
    (server,) = server_processes(os.getpgrp()) - before
    return server


@pytest.fixture
def own_group() -> Iterator[None]:
    """This process has a process group of its own: pytest's other processes start servers, too."""
    before = os.getpgrp()
    if before != os.getpid():
        os.setpgid(0, 0)
    yield
    if os.getpgrp() != before:
        os.setpgid(0, before)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def started(code: str) -> tuple[subprocess.Popen[str], str, set[int]]:
    """A Python process in a session of its own, its first line, and the server processes that came with it."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline(), server_processes(process.pid)


def assert_gone(pids: set[int]) -> None:
    """The processes end within two seconds."""
    until(lambda: all(state_of(pid) in "Z" for pid in pids), f"{pids} have ended", 2)


MASTER = """
import os, sys, signal
from fake_torch_dist.stores import TCPStore
store = TCPStore("127.0.0.1", 0, 1, True)
print(store.port, flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_server_goes_with_its_parent(how: signal.Signals | None):
    process, _, servers = started(MASTER)
    assert len(servers) == 1
    if how is not None:
        process.send_signal(how)
    process.communicate(timeout=5)
    assert_gone(servers)


@linux
def test_the_server_stays_for_clients_that_outlive_its_parent_but_lets_nobody_in():
    process, line, servers = started(MASTER)
    client = TCPStore("127.0.0.1", int(line))
    process.kill()
    process.communicate()
    client.set("a", "1")
    assert client.get("a") == b"1"
    deadline = time.monotonic() + 2
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(line))).close()
        except ConnectionRefusedError:
            break
        assert time.monotonic() < deadline
    assert client.add("n", 1) == 1
    assert servers <= server_processes(process.pid)
    client.close()
    assert_gone(servers)


@linux
def test_children_of_the_parent_do_not_keep_the_server():
    code = MASTER.replace("print(", "child = os.fork() or signal.pause()\nprint(child, ")
    process, line, servers = started(code)
    child = int(line.split()[0])
    try:
        process.kill()
        process.wait(5)
        assert_gone(servers)
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


@linux
def test_the_server_holds_nothing_of_its_parents():
    code = (
        "import os, atexit, signal\n"
        "r, w = os.pipe(); os.set_inheritable(w, True); atexit.register(os.write, 1, b'exit ')\n"
        "for s in (signal.SIGUSR1, signal.SIGTERM): signal.signal(s, lambda *_: os.write(1, b'signal '))\n"
    ) + MASTER
    process, _, servers = started(code)
    (server,) = servers
    fds = Path(f"/proc/{server}/fd")
    targets = {int(entry.name): os.readlink(entry) for entry in fds.iterdir()}
    assert [targets.pop(standard) for standard in (0, 1, 2)] == ["/dev/null"] * 3
    kinds = sorted(target.partition(":")[0] for target in targets.values() if target != "/dev/null")
    assert kinds == ["anon_inode", "pipe", "socket", "socket"]  # epoll, the parent's pipe, the listener, one client
    os.kill(server, signal.SIGINT)
    os.kill(server, signal.SIGTERM)
    assert process.communicate(timeout=5) == ("exit ", None)
    assert_gone(servers)


@linux
def test_closing_lets_go_of_the_server(own_group: None):
    before = server_processes(os.getpgrp())
    handle = fork_server("127.0.0.1", 0)
    servers = {new_server(before)}
    assert handle.is_open
    handle.close()
    assert not handle.is_open
    assert_gone(servers)


@linux
def test_the_first_process_of_a_container_keeps_no_dead_servers(own_group: None, monkeypatch: pytest.MonkeyPatch):
    """It inherits all orphans, so nobody else would reap them."""
    before = server_processes(os.getpgrp())
    monkeypatch.setattr(os, "getpid", lambda: 1)
    busy = fork_server("127.0.0.1", 0)
    client = socket.create_connection(("127.0.0.1", busy.port))
    first = new_server(before)
    idle = fork_server("127.0.0.1", 0)
    second = new_server(before | {first})
    busy.close()
    client.close()
    until(lambda: state_of(first) in ("Z", ""), "the server without clients has ended", 5)
    idle.close()
    until(lambda: state_of(second) in ("Z", ""), "the server without a handle has ended", 5)
    fork_server("127.0.0.1", 0).close()
    assert (state_of(first), state_of(second)) == ("", "")


@linux
def test_a_server_that_is_killed_is_noticed(own_group: None):
    before = server_processes(os.getpgrp())
    port_holder = socket.create_server(("127.0.0.1", 0))
    port = port_holder.getsockname()[1]
    port_holder.close()
    first = TCPStore("127.0.0.1", port, 1, True, multi_tenant=True, timeout=timedelta(seconds=5))
    server = new_server(before)
    os.kill(server, signal.SIGKILL)
    assert_gone({server})
    second = TCPStore("127.0.0.1", port, 1, True, multi_tenant=True, timeout=timedelta(seconds=5))
    assert second.num_keys() == 1
    with pytest.raises(RuntimeError):
        first.get("a")
