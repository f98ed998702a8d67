"""Files that processes share: forked users, half records, writers that die."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest

from fake_torch_dist.stores import FileStore
from tests.support.processes import exit_codes


def test_processes_share_a_file(tmp_path: Path):
    def body(rank: int) -> None:
        store = FileStore(str(tmp_path / "f"), 4)
        for _ in range(50):
            store.add("n", 1)
        store.set(f"rank{rank}", "x" * 10_000)
        assert [len(store.get(f"rank{other}")) for other in range(4)] == [10_000] * 4
        store.barrier("end", 4, timedelta(seconds=5))
        assert store.get("n") == b"200"
        store.close()

    assert exit_codes(*(lambda rank=rank: body(rank) for rank in range(4))) == [0] * 4
    assert list(tmp_path.iterdir()) == []  # the last one removed it


def test_a_file_stays_while_somebody_may_come(tmp_path: Path):
    for world_size in (-1, 2):
        path = str(tmp_path / str(world_size))
        FileStore(path, world_size).close()
        assert os.path.exists(path)
    path = str(tmp_path / "f")
    first, second = FileStore(path, 2), FileStore(path, 2)
    first.close()
    assert os.path.exists(path)
    second.close()
    assert not os.path.exists(path)


def test_half_a_record_is_no_record(tmp_path: Path):
    path = tmp_path / "f"
    store = FileStore(str(path))
    store.set("a", "1")
    whole = path.read_bytes()
    store.set("b", "2" * 100)
    record = path.read_bytes()[len(whole) :]
    tails = [record[:length] for length in (1, 7, 8, 20, len(record) - 1)]
    for number, tail in enumerate([*tails, record[:-1] + b"!", bytes(50)]):
        copy = tmp_path / str(number)
        copy.write_bytes(whole + tail)
        reader, writer = FileStore(str(copy)), FileStore(str(copy))
        assert not reader.check(["b"])
        writer.set("c", "3")
        assert reader.multi_get(["a", "c"]) == [b"1", b"3"]
        assert not reader.check(["b"])
    path.write_bytes(whole[:5])
    assert FileStore(str(path)).list_keys() == []


def test_a_writer_killed_in_the_middle_holds_up_nobody(tmp_path: Path):
    path = str(tmp_path / "f")

    def body() -> None:
        store = FileStore(path)
        with store._locked(exclusive=True):
            os.pwrite(store._fd, struct.pack("!II", 5000, 1) + b"half a rec", store._at)
            os.kill(os.getpid(), signal.SIGKILL)

    store = FileStore(path)
    assert exit_codes(body) == [-signal.SIGKILL]
    store.set("a", "1")
    assert FileStore(path).get("a") == b"1"


def test_what_is_no_store_stays_as_it_is(tmp_path: Path):
    path = tmp_path / "thesis.txt"
    path.write_text("Chapter 1\n")
    with pytest.raises(ValueError, match=r"thesis\.txt is not the file of a FileStore; it stays as it is"):
        FileStore(str(path))
    assert path.read_text() == "Chapter 1\n"
    with pytest.raises(FileNotFoundError):
        FileStore(str(tmp_path / "no" / "f"))


def test_a_forked_child_gets_a_lock_of_its_own(tmp_path: Path):
    store = FileStore(str(tmp_path / "f"))

    def body() -> None:
        for _ in range(100):
            store.add("n", 1)

    assert exit_codes(body, body, body) == [0, 0, 0]
    assert store.get("n") == b"300"


def test_a_file_has_no_queues(tmp_path: Path):
    store = FileStore(str(tmp_path / "store"), 1)
    for call in (lambda: store.queue_push("q", "1"), lambda: store.queue_pop("q"), lambda: store.queue_len("q")):
        with pytest.raises(NotImplementedError, match="queue support is not implemented"):
            call()
    assert not store.has_extended_api()


def test_other_threads_use_the_store_while_one_waits(tmp_path):
    store = FileStore(str(tmp_path / "f"), 1)
    came = SimpleQueue()

    def wait() -> None:
        store.wait(["key"], timedelta(seconds=20))
        came.put(store.get("key"))

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    started = time.monotonic()
    for number in range(20):
        assert store.add("n", 1) == number + 1
    store.set("key", "here")
    took = time.monotonic() - started
    assert [came.get(timeout=10) for _ in waiting] == [b"here"] * 3
    assert took < 10
    for thread in waiting:
        thread.join(10)
