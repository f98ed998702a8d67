"""Another user of this host attacks a job without a token: nothing of his is unpickled, and no rank's place is his.

The attacker runs this package without its checks (``strangers``), so what is judged are the checks of the victim.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

import fake_torch_dist as dist
from fake_torch_dist.stores import FileStore, TCPStore, file_store
from fake_torch_dist.transports import contacts, listening
from tests.support.free_ports import free_port
from tests.support.strangers import STRANGER, Planted, needs_root, stranger, told
from tests.support.worlds import outcomes

pytestmark = [needs_root, pytest.mark.usefixtures("no_launcher")]
SOON = timedelta(seconds=2)
LATER = timedelta(seconds=20)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    """Object that the attacker sends; it must not have been unpickled in the end."""
    path = tmp_path / "executed"
    yield Planted(str(path))
    assert not path.exists(), "the attacker's pickle was executed"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that everybody may write to."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def exchange(method: str, rank: int, size: int, sent: object, timeout: timedelta = SOON) -> list[object]:
    """Take part in a job at ``method`` and gather everybody's object."""
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=size, timeout=timeout)
    found: list[object] = [None] * size
    dist.all_gather_object(found, sent)
    return found


def attack(method: str, rank: int, size: int, sent: object, *, far: bool = False) -> Callable[[], object]:
    """Be this rank. ``far``: pretend to be on another host, so that all exchange their objects over TCP."""

    def body() -> object:
        if far:
            listening.host_identity = lambda: "elsewhere"
        return exchange(method, rank, size, sent, LATER)

    return body


def victims(method: str, ranks: range, size: int) -> list[tuple[str, str, str] | None]:
    """Errors of the ranks of the attacked user."""
    ended = outcomes(lambda index: exchange(method, ranks[index], size, "harmless"), len(ranks))
    return [outcome.error for outcome in ended]


@pytest.mark.parametrize("far", [False, True])
def test_the_place_of_a_rank_is_not_taken_in_a_job_at_an_address(planted, far):
    method = f"tcp://127.0.0.1:{free_port()}"
    with stranger(attack(method, 1, 2, planted, far=far)):
        (error,) = victims(method, range(1), 2)
    assert error is not None and "Ranks that did not come: 1." in error[1]


@pytest.mark.parametrize("far", [False, True])
def test_an_address_where_another_user_listens_first_is_refused(planted, far):
    port = free_port()
    method = f"tcp://127.0.0.1:{port}"
    with stranger(attack(method, 0, 2, planted, far=far)):
        (error,) = victims(method, range(1, 2), 2)
    assert error is not None
    assert error[1].startswith(f"the store at 127.0.0.1:{port} belongs to user {STRANGER}, and this process to user 0.")
    assert "FAKE_TORCH_DIST_TOKEN" in error[1]


def test_a_store_is_closed_to_other_users():
    store = TCPStore("127.0.0.1", 0, 1, True)
    store.set("a", "ours")

    def body() -> object:
        theirs = TCPStore("127.0.0.1", store.port, timeout=SOON)
        theirs.set("a", "theirs")
        return theirs.get("a")

    with stranger(body) as outcome:
        assert "refused the job's token" in outcome()
    assert store.get("a") == b"ours" and store.num_keys() == 2  # "a", and the count of clients
    assert TCPStore("127.0.0.1", store.port).get("a") == b"ours"


def test_with_the_token_another_user_is_of_the_job(monkeypatch):
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "the job's")
    store = TCPStore("127.0.0.1", 0, 1, True)
    with stranger(lambda: TCPStore("127.0.0.1", store.port, timeout=SOON).add("n", 5)) as outcome:
        assert outcome() == "5"
    monkeypatch.delenv("FAKE_TORCH_DIST_TOKEN")
    with stranger(lambda: TCPStore("127.0.0.1", store.port, timeout=SOON).add("n", 5)) as outcome:
        assert "refused the job's token" in outcome()


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_file_of_another_user_is_refused(planted, shared):
    path = shared / "store"
    reader, writer = os.pipe()

    def body() -> object:
        os.umask(0)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
        os.write(writer, b"made")
        return exchange(f"file://{path}", 1, 2, planted, LATER)

    with stranger(body):
        told(reader)
        (error,) = victims(f"file://{path}", range(1), 2)
    assert error is not None and error[0] == "PermissionError"
    kernel = "Permission denied" in error[1]  # it has rules of its own for directories like /tmp
    assert kernel or (f"{path} belongs to user {STRANGER}" in error[1] and "FAKE_TORCH_DIST_TOKEN" in error[1])
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("mode", [0o666, 0o622, 0o602, 0o620])
def test_a_file_that_others_may_write_to_is_refused_without_a_token(shared, monkeypatch, mode):
    path = shared / "store"
    path.touch()
    path.chmod(mode)
    with pytest.raises(PermissionError, match=f"is open to other users \\(mode {mode:o}\\).*FAKE_TORCH_DIST_TOKEN"):
        FileStore(str(path), 1)
    assert path.read_bytes() == b""
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "the job's")
    store = FileStore(str(path), 1)
    store.set("a", "1")
    store.close()


def test_a_new_file_is_the_users_alone(shared):
    before = os.umask(0)
    try:
        store = FileStore(str(shared / "store"), 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((shared / "store").stat().st_mode) == 0o600
    store.close()


# -- whoever can write to the store -----------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("of_attacker", [0, 1])
def test_a_store_that_is_written_to_by_another_user_lets_him_take_no_place(
    planted, shared, monkeypatch, far, of_attacker
):
    """As with a store of the script's own that anybody can write to: the connections have checks of their own."""
    monkeypatch.setattr(FileStore, "_refuse_foreign", lambda self: None)
    path = shared / "store"
    path.touch()
    path.chmod(0o666)
    method = f"file://{path}"
    with stranger(attack(method, of_attacker, 2, planted, far=far)):
        (error,) = victims(method, range(1 - of_attacker, 2 - of_attacker), 2)
    assert error is not None
    if far:
        assert f"belongs to user {STRANGER}" in error[1] and "FAKE_TORCH_DIST_TOKEN" in error[1]
    else:
        assert f"rank {of_attacker}" in error[1]


def test_a_copied_contact_leads_to_nobody(planted, shared, monkeypatch):
    """The attacker names a socket of his own, and a process of the victim's as the one behind it."""
    monkeypatch.setattr(FileStore, "_refuse_foreign", lambda self: None)
    path = shared / "store"
    path.touch()
    path.chmod(0o666)
    pid = os.getpid()

    def body() -> object:
        parse = contacts.Contact.packed
        contacts.Contact.packed = lambda self: parse(self._replace(pid=pid))
        return exchange(f"file://{path}", 1, 2, planted, LATER)

    with stranger(body):
        (error,) = victims(f"file://{path}", range(1), 2)
    assert error is not None and "rank 1" in error[1]


# -- jobs without enemies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [0, STRANGER])
def test_any_user_can_run_a_job_without_a_token(shared, user):
    method = f"tcp://127.0.0.1:{free_port()}"
    shared.chmod(0o777)

    def job() -> object:
        others = []
        for rank in (1, 2):
            pid = os.fork()
            if pid == 0:
                with suppress(BaseException):
                    if exchange(method, rank, 3, rank, LATER) == [0, 1, 2]:
                        os._exit(0)
                os._exit(1)
            others.append(pid)
        found = exchange(method, 0, 3, 0, LATER)
        return found, [os.waitpid(pid, 0)[1] for pid in others]

    with stranger(job, user) as outcome:
        assert outcome() == "([0, 1, 2], [0, 0])"


def test_another_host_needs_the_token(monkeypatch, shared):
    """Played by a listener that is not in this host's table, as one of another host is not."""
    monkeypatch.setattr("fake_torch_dist.meeting.exchange.foreign_listener", lambda host, port: "is on another host")
    method = f"file://{shared}/store"

    def body(rank: int) -> object:
        listening.host_identity = lambda: f"host{rank}"
        return exchange(method, rank, 2, rank)

    for outcome in outcomes(body, 2):
        assert outcome.error is not None and outcome.error[0] == "DistNetworkError"
        assert "is on another host. Without FAKE_TORCH_DIST_TOKEN only" in outcome.error[1]
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "the job's")
    assert [outcome.value for outcome in outcomes(body, 2)] == [[0, 1]] * 2


def test_the_attackers_own_checks_are_off():
    """Else the tests above would judge the attacker's manners."""

    def body() -> object:
        return file_store.FileStore._refuse_foreign(None), signal.getsignal(signal.SIGALRM)

    with stranger(body) as outcome:
        assert outcome().startswith("(None")
