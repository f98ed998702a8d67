"""Ranks of another launcher meet through the store of torch that it serves; an imitation of that store serves here."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest

import fake_torch_dist as dist
from fake_torch_dist.errors import DistNetworkError, DistStoreError
from fake_torch_dist.meeting import torch_board
from tests.support.free_ports import free_port
from tests.support.meeting import SHORT, SOON, resolve
from tests.support.processes import Children

pytestmark = pytest.mark.usefixtures("no_launcher")


class TorchStore:
    """As much of torch's TCPStore as is asked for, one thread a connection."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.asked = os.pipe()
        """A byte for each request that waits for a key can be read here."""
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            self._sockets.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as asked:

            def text() -> bytes:
                return asked.read(struct.unpack("<Q", asked.read(8))[0])

            if asked.read(5) != struct.pack("<BI", 0, 0x3C85F7CE):
                return
            while kind := asked.read(1):
                try:
                    self._answer(kind[0], connection, asked.read, text)
                except OSError:
                    return

    def _answer(
        self, kind: int, connection: socket.socket, read: Callable[[int], bytes], text: Callable[[], bytes]
    ) -> None:
        if kind == 13:
            connection.sendall(read(4))
        elif kind == 1:
            key, value = text(), text()
            with self._changed:
                self.values[key] = value
                self._changed.notify_all()
        elif kind == 6:
            read(8)
            key = text()
            os.write(self.asked[1], b"?")
            with self._changed:
                self._changed.wait_for(lambda: key in self.values or self._listener.fileno() < 0)
            connection.sendall(b"\0")
        elif kind == 8:
            connection.sendall(
                struct.pack("<q", len([self.values.pop(key) for key in (text(),) if key in self.values]))
            )
        else:
            value = self.values.get(text(), b"")
            connection.sendall(struct.pack("<Q", len(value)) + value)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            self._changed.notify_all()
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for fd in self.asked:
            os.close(fd)


@pytest.fixture
def torch_store() -> Iterator[TorchStore]:
    store = TorchStore()
    yield store
    store.close()


def launched_by(store: TorchStore, rank: int, size: int, *, agent: bool) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}
    if agent:
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"


@pytest.mark.parametrize("agent", [True, False], ids=["torchrun", "TorchTrainer"])
def test_ranks_meet_where_torchs_store_is(torch_store: TorchStore, agent: bool):
    def body(rank: int) -> None:
        launched_by(torch_store, rank, 3, agent=agent)
        for _ in range(2):  # a world may be left and made again
            dist.init_process_group("gloo", timeout=SOON)
            ranks: list[int] = [0] * 3
            dist.all_gather_object(ranks, rank)
            dist.destroy_process_group()
            assert ranks == [0, 1, 2]

    with Children() as children:
        for rank in (2, 1, 0):
            children.fork(partial(body, rank))
        assert children.wait() == [0, 0, 0]


def test_the_address_of_an_earlier_rank_0_is_passed_over(torch_store: TorchStore):
    """A store outlives the ranks, which start again after a failure."""
    there = "\n".join((torch_board.host_identity(), "127.0.0.1", str(free_port())))
    torch_store.values[torch_board.KEY] = there.encode()

    def body(rank: int) -> None:
        launched_by(torch_store, rank, 2, agent=True)
        if rank == 0:
            time.sleep(0.1)  # most often rank 1 has read the old address by then; either order must do
        dist.init_process_group("gloo", timeout=SOON)
        dist.barrier()
        dist.destroy_process_group()

    with Children() as children:
        children.fork(partial(body, 1))
        children.fork(partial(body, 0))
        assert children.wait() == [0, 0]


@pytest.mark.parametrize("agent", [True, False], ids=["torchrun", "TorchTrainer"])
def test_programs_that_ranks_start_meet_anew(torch_store: TorchStore, agent: bool):
    """A worker of Ray that has met starts ``train.py`` while it lives on; rank 1's program asks first."""
    over, end = os.pipe()

    def worker(rank: int, _met: int) -> None:
        launched_by(torch_store, rank, 2, agent=agent)
        dist.init_process_group("gloo", timeout=SOON)
        dist.barrier()
        dist.destroy_process_group()
        os.write(_met, b"met")
        os.close(end)
        os.read(over, 1)

    def program(rank: int) -> None:
        launched_by(torch_store, rank, 2, agent=agent)
        dist.init_process_group("gloo", timeout=SOON)
        dist.barrier()
        dist.destroy_process_group()

    with Children() as children:
        workers = [children.fork(partial(worker, rank), 1) for rank in range(2)]
        children.read_until(lambda: all(each.outputs == [b"met"] for each in workers), "the workers have met")
        assert os.read(torch_store.asked[0], 1) == b"?"
        programs = [children.fork(partial(program, 1))]
        assert os.read(torch_store.asked[0], 1) == b"?"  # it waits for the address, and has not found the workers'
        assert torch_board.KEY not in torch_store.values
        programs.append(children.fork(partial(program, 0)))
        children.read_until(lambda: all(each.done for each in programs), "the programs have met")
        os.close(end)
        assert children.wait() == [0, 0, 0, 0]
    os.close(over)


def test_a_rank_0_that_does_not_come_and_an_address_that_is_none(
    torch_store: TorchStore, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", str(torch_store.port))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    with pytest.raises(DistStoreError, match=r"wait timeout after \d+ms, keys: /fake_torch_dist/store of rank 0"):
        resolve(None, -1, -1, None, SHORT)
    torch_store.values[torch_board.KEY] = b"nonsense"
    with pytest.raises(DistNetworkError, match=r"has b'nonsense' where rank 0 of fake_torch_dist leaves its address"):
        resolve(None, -1, -1, None, SOON)
    torch_store.values[torch_board.KEY] = b"another host\n127.0.0.1\n1"
    with pytest.raises(DistNetworkError, match=r"rank 0 is on another host .*FAKE_TORCH_DIST_TOKEN"):
        resolve(None, -1, -1, None, SOON)


def test_another_port_than_the_agents_is_rank_0s(torch_store: TorchStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_PORT", str(torch_store.port))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    store, rank, size = resolve(f"tcp://127.0.0.1:{free_port()}", 0, 1, None, timedelta(seconds=30))
    store.set("a", "1")
    assert (rank, size, store.get("a"), torch_store.values) == (0, 1, b"1", {})
