"""Output to pipes, terminals, sockets and files: nothing waits, nothing is lost, a reader that goes is noticed."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_torch_dist.launcher.output import writer as output_module
from fake_torch_dist.launcher.output.writer import Output, standard_outputs

DEADLINE_S = 30


def no_error(message: str) -> None:
    raise AssertionError(message)


@pytest.fixture(params=["pipe", "pipe that can't be reopened", "terminal", "socket"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Reading and writing end of each kind; a test that closes one puts -1 there."""
    if request.param == "socket":
        fds = [end.detach() for end in socket.socketpair()]
    elif request.param == "terminal":
        fds = list(os.openpty())
    else:
        fds = list(os.pipe())
        if "can't" in request.param:
            monkeypatch.setattr(output_module, "without_blocking", lambda fd: fd)
    yield fds
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def read_all(reader: int, output: Output, size: int) -> bytes:
    """Read so many bytes, while the output goes on whenever its descriptor is reported as an edge."""
    data = b""
    with select.epoll() as epoll:
        epoll.register(reader, select.EPOLLIN)
        epoll.register(output, select.EPOLLOUT | select.EPOLLET)
        while len(data) < size:
            events = epoll.poll(DEADLINE_S)
            assert events, f"{len(data)} of {size} bytes, and nothing happens"
            for fd, _ in events:
                if fd == reader:
                    data += os.read(reader, 50_000)
                else:
                    output.on_writable()
    return data


def test_what_does_not_fit_is_kept_until_it_does(ends: list[int]):
    reader, writer = ends
    flags = fcntl.fcntl(writer, fcntl.F_GETFL)
    output = Output(writer, on_error=no_error)
    assert output.pollable
    chunks = [b"%06d%b " % (number, b"x" * 200) for number in range(5000)]
    output.write(chunks)
    assert output.blocked
    output.write([b"the", b"", b"end"])
    want = b"".join(chunks) + b"theend"
    assert read_all(reader, output, len(want)) == want
    assert not output.blocked
    assert fcntl.fcntl(writer, fcntl.F_GETFL) == flags, "others have this descriptor, too"
    output.release()
    os.fstat(writer)


def test_newlines_on_a_full_terminal_come_through():
    """A newline is two bytes there: the terminal can be ready for one and refuse it."""
    reader, writer = os.openpty()
    try:
        output = Output(writer, on_error=no_error)
        output.write([b"\n" * 50_000])
        assert output.blocked
        assert read_all(reader, output, 100_000) == b"\r\n" * 50_000
        output.release()
    finally:
        os.close(reader)
        os.close(writer)


def test_a_reader_that_goes_is_noticed_while_writing(ends: list[int]):
    output = Output(ends[1], on_error=no_error)
    output.write([b"x" * 1_000_000])
    assert output.blocked and not output.closed
    os.close(ends[0])
    ends[0] = -1
    output.on_writable()
    assert output.closed and not output.blocked
    output.write([b"more"])
    assert not output.blocked
    output.release()


def test_a_reader_that_goes_is_noticed_while_nothing_is_written(ends: list[int]):
    output = Output(ends[1], on_error=no_error)
    with select.epoll() as epoll:
        epoll.register(output, select.EPOLLOUT | select.EPOLLET)
        epoll.poll(0)
        output.on_writable()
        assert not output.closed
        os.close(ends[0])
        ends[0] = -1
        assert epoll.poll(DEADLINE_S)
        output.on_writable()
    assert output.closed
    output.release()


def test_a_file_takes_everything_at_once_where_it_is(tmp_path: Path):
    with open(tmp_path / "log", "wb") as file:
        file.write(b"before ")
        file.flush()
        output = Output(file.fileno(), on_error=no_error)
        assert not output.pollable
        output.write([b"a" * 3_000_000] + [b"b"] * 3000)
        assert not output.blocked
    assert (tmp_path / "log").read_bytes() == b"before " + b"a" * 3_000_000 + b"b" * 3000


def test_a_full_disk_is_said_once():
    said: list[str] = []
    with open("/dev/full", "wb", buffering=0) as file:
        output = Output(file.fileno(), on_error=said.append)
        output.write([b"x" * 100])
        output.write([b"x" * 100])
    assert said == [
        "standard output: No space left on device. 100 bytes and all further output to it are lost; the job goes on"
    ]
    assert not output.closed and not output.blocked


def test_one_file_is_one_output(ends: list[int], tmp_path: Path):
    again = os.dup(ends[1])
    out, err = standard_outputs(no_error, ends[1], again)
    assert out is err
    out.release()
    os.close(again)
    with open(tmp_path / "log", "wb") as file:
        out, err = standard_outputs(no_error, ends[1], file.fileno())
        assert out is not err
        out.release()
        err.release()


def test_a_descriptor_that_is_not_open_is_closed():
    fd = os.dup(0)
    os.close(fd)
    output = Output(fd, on_error=no_error)
    assert output.closed and not output.pollable
    output.write([b"x"])
