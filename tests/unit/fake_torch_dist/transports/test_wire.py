"""Frames on a connection: whole, in pieces, several at once, and more than the kernel takes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.transports.wire import HEADER, READ_BYTES, Frame, PeerConnection

Ends = tuple[PeerConnection, PeerConnection]


def connected() -> Ends:
    first, second = socket.socketpair()
    for each in (first, second):
        each.setblocking(False)
    return PeerConnection(first, 0), PeerConnection(second, 1)


@pytest.fixture
def ends() -> Iterator[Ends]:
    sender, receiver = connected()
    yield sender, receiver
    sender.socket.close()
    receiver.socket.close()


def read_all(receiver: PeerConnection) -> list[Frame]:
    frames: list[Frame] = []
    inbox = memoryview(bytearray(READ_BYTES))
    try:
        while receiver.read(frames, inbox):
            pass
    except BlockingIOError:
        pass
    return frames


def test_a_small_frame_goes_out_at_once_and_comes_in_whole(ends: Ends) -> None:
    sender, receiver = ends
    assert sender.send(3, 1, -7, b"head", memoryview(b"tail"))
    assert not sender.queue
    assert read_all(receiver) == [(1, 3, 1, -7, b"headtail")]


def test_a_message_keeps_its_bytes_when_the_next_one_is_read(ends: Ends) -> None:
    sender, receiver = ends
    inbox = memoryview(bytearray(READ_BYTES))
    frames: list[Frame] = []
    for text in (b"first", b"other"):
        sender.send(0, 0, 0, text)
        assert receiver.read(frames, inbox)
    assert [frame[-1] for frame in frames] == [b"first", b"other"]


@given(
    payloads=st.lists(st.binary(max_size=40), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 30), max_size=12),
)
def test_frames_come_out_whole_wherever_the_bytes_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    sender, receiver = connected()
    try:
        data = b"".join(HEADER.pack(len(payload), 2, 1, k) + payload for k, payload in enumerate(payloads))
        frames: list[Frame] = []
        for size in [*cuts, len(data)]:
            piece, data = data[:size], data[size:]
            if piece:
                sender.socket.send(piece)
                frames += read_all(receiver)
        assert frames == [(1, 2, 1, k, payload) for k, payload in enumerate(payloads)]
    finally:
        sender.socket.close()
        receiver.socket.close()


@pytest.mark.parametrize("size", [1000, READ_BYTES + 1])
def test_what_the_kernel_does_not_take_is_sent_later_and_in_order(ends: Ends, size: int) -> None:
    sender, receiver = ends
    sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
    count = 2000 if size == 1000 else 8
    payloads = [bytes([k % 256]) * 8 for k in range(count)]
    tail = memoryview(b"t" * size)
    taken = [sender.send(0, 0, k, payload, tail) for k, payload in enumerate(payloads)]
    assert taken[0] is (size == 1000) and taken.count(False) == 1  # it says so once: when the queue begins
    assert sender.queue
    frames: list[Frame] = []
    while sender.queue:
        frames += read_all(receiver)
        sender.push()
    frames += read_all(receiver)
    assert [frame[-1] for frame in frames] == [payload + tail for payload in payloads]
    assert [frame[3] for frame in frames] == list(range(count))


@pytest.mark.parametrize("sizes", [(READ_BYTES + 5, 3), (3, READ_BYTES + 5), (READ_BYTES - 8, 4 * READ_BYTES, 0)])
def test_large_frames_before_and_behind_small_ones(ends: Ends, sizes: tuple[int, ...]) -> None:
    sender, receiver = ends
    payloads = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    for number, payload in enumerate(payloads):
        sender.send(0, 0, number, b"", memoryview(payload))
    frames = read_all(receiver)
    while sender.queue:
        sender.push()
        frames += read_all(receiver)
    assert [(frame[3], bytes(frame[-1])) for frame in frames] == list(enumerate(payloads))
