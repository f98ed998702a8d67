"""A peer of a store's server that may send anything, and turns of a server in this process."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from fake_torch_dist.stores.authentication import PROTOCOL, Greeting, proof
from fake_torch_dist.stores.frames import MAX_MESSAGE, frame, next_frame
from fake_torch_dist.stores.messages import Message
from fake_torch_dist.stores.server import StoreServer

TOKEN = b"secret"
NONCE = bytes(range(32))


class Peer:
    """A client that does only what it is told. The fixture ``server`` hangs up for those that are left."""

    left: ClassVar[list[Peer]] = []

    def __init__(self, server: StoreServer, *, join: bool = True) -> None:
        self.server = server
        self.sock = socket.create_connection(("127.0.0.1", server.port))
        self.left.append(self)
        self.sock.setblocking(False)
        self.incoming = bytearray()
        if join:
            self.nonce = self.ask(Message(Greeting.HELLO, 0, [PROTOCOL, NONCE])).fields[0]
            welcome = self.ask(Message(Greeting.PROOF, 0, [proof(TOKEN, b"client", NONCE, self.nonce)]))
            assert welcome == (Greeting.WELCOME, 0, [proof(TOKEN, b"server", NONCE, self.nonce)])

    def send(self, message: Message, number: int = 7) -> None:
        self.send_bytes(frame(number, message))

    def send_bytes(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            with suppress(BlockingIOError):
                rest = rest[self.sock.send(rest) :]
            turn(self.server, 0)

    def read(self, seconds: float = 5.0) -> Message:
        """The next answer. ConnectionError if the server has hung up, TimeoutError if it says nothing."""
        deadline = time.monotonic() + seconds
        while (found := next_frame(self.incoming, MAX_MESSAGE)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            turn(self.server, 0.001, self.sock)
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                continue
            if not data:
                raise ConnectionResetError
            self.incoming += data
        return found[1]

    def ask(self, message: Message) -> Message:
        self.send(message)
        return self.read()

    def gets_nothing(self, message: Message | None = None) -> bool:
        """True if there is no answer, to ``message`` if given, within 20 ms."""
        if message is not None:
            self.send(message)
        try:
            self.read(0.02)
        except TimeoutError:
            return True
        return False

    def is_dropped(self) -> bool:
        """True if the server closes the connection; reads what it sent before."""
        try:
            while True:
                self.read()
        except (ConnectionError, TimeoutError) as error:
            return isinstance(error, ConnectionError)


def turn(server: StoreServer, seconds: float, *others: socket.socket) -> None:
    """Wait until there is something to do, and let the server do it."""
    if server.fileno() in select.select([server.fileno(), *others], [], [], seconds)[0]:
        server.on_readable()


def comes_true(server: StoreServer, condition: Callable[[], bool]) -> bool:
    """True if ``condition`` holds within five seconds of serving."""
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        turn(server, 0.001)
    return True
