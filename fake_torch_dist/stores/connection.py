"""``Connection``: a client's end of its connection with a store's server."""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import time
from datetime import timedelta
from typing import Final

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.environment_names import STORE
from fake_torch_dist.stores.after_fork import keep_from_children
from fake_torch_dist.stores.authentication import NONCE_BYTES, PROTOCOL, Greeting, proof
from fake_torch_dist.stores.connected_user import WAY_OUT, foreign
from fake_torch_dist.stores.frames import MAX_GREETING, MAX_MESSAGE, frame, next_frame
from fake_torch_dist.stores.messages import Message
from fake_torch_dist.stores.sockets import connect
from fake_torch_dist.stores.timeouts import deadline_after, milliseconds, next_wait_s
from fake_torch_dist.stores.torch_store import TorchStoreError, is_torch_store

# torch 2.13.0
CONNECT_TIMEOUT = (  # DistNetworkError
    "The client socket has timed out after {ms}ms while trying to connect to ({host}, {port})."
)
CONNECTION_CLOSED = (  # DistNetworkError
    "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?"
)
CONNECTION_RESET = "Connection reset by peer"  # DistNetworkError
BROKEN_PIPE = "Broken pipe"  # DistNetworkError

# Ours
WRONG_TOKEN = (  # DistNetworkError
    "the store at {host}:{port} refused the job's token: this process is not of the job that the store belongs to. "
    "All processes of a job need the same FAKE_TORCH_DIST_TOKEN"
)
STRANGE_SERVER = (  # DistNetworkError
    "the store at {host}:{port} does not know the job's token: it belongs to another job, or pretends to be a store"
)
TORCH_STORE = (  # TorchStoreError
    "the store at {host}:{port} is torch.distributed's, which fake_torch_dist cannot use. Start the script with "
    "fake-torchrun instead of torchrun, or let the ranks meet elsewhere: init_method='file:///path' or 'tcp://host:port'"
)
NO_STORE = (  # DistNetworkError
    "what listens at {host}:{port} does not greet as a store of fake_torch_dist: {why}. If another program uses that "
    "port, choose another MASTER_PORT"
)
FOREIGN_SERVER = f"the store at {{host}}:{{port}} {{reason}}. {WAY_OUT}"  # DistNetworkError

_READ_BYTES: Final = 1 << 16
_SHORTEST_GRACE_S: Final = 1.0
_LONGEST_GRACE_S: Final = 10.0
"""Bounds of the seconds beyond a time-out in which a server has to react; a slower one counts as dead."""
_PROMPT_S: Final = 0.5
"""Seconds in which a store usually answers the greeting; a slower one is tested for torch's protocol."""
_PROMPT_OF_LAUNCHER_S: Final = 10.0
"""The same for the store that a launcher has announced: it answers no one while it starts a thousand ranks, each of
which would connect twice."""
_SILENCE_S: Final = 30.0
"""Seconds after which a listener that has not answered the greeting counts as no store."""
NO_ANSWER = "the store at {host}:{port} is connected but has not reacted for {seconds:g} seconds"  # DistNetworkError


class _HungUpError(ConnectionResetError):
    """The listener has closed a connection that was being greeted: it is ending, busy, or no store."""


class Connection:
    """A client's end of one connection: greets, then sends one request after another and reads the answers."""

    def __init__(self, host: str, port: int, token: bytes, timeout: timedelta) -> None:
        """Try until connected, or raise DistNetworkError after ``timeout``; at once if the token is wrong."""
        self._address = (host, port)
        self._name = {"host": host, "port": port}
        announced = os.environ.get(STORE) in (f"{host}:{port}", f"[{host}]:{port}")
        self._prompt_s = _PROMPT_OF_LAUNCHER_S if announced else _PROMPT_S
        self._number = 0
        self._incoming = bytearray()
        self._is_torch: bool | None = None
        self._poll = select.poll()
        self._sock: socket.socket | None = None
        keep_from_children(self)
        deadline = deadline_after(timeout)
        pause_s = 0.002
        hung_up_s = math.inf  # since then every connection was closed in the greeting
        while True:
            try:
                self._attempt(host, port, token, deadline)
                return
            except (OSError, ValueError) as error:
                self.close()
                hung_up_s = min(hung_up_s, time.monotonic()) if isinstance(error, _HungUpError) else math.inf
                if time.monotonic() >= hung_up_s + _SILENCE_S:
                    why = f"it has closed every connection for {_SILENCE_S:g} seconds"
                    raise DistNetworkError(NO_STORE.format(why=why, **self._name)) from error
                if deadline is not None and time.monotonic() + pause_s >= deadline:
                    text = CONNECT_TIMEOUT.format(ms=milliseconds(timeout), **self._name)
                    raise DistNetworkError(f"{text} Last attempt: {error}") from error
            except BaseException:
                self.close()
                raise
            time.sleep(pause_s)  # the start of a listener causes no event
            pause_s = min(2 * pause_s, 0.25)

    def call(self, message: Message, timeout: timedelta) -> Message | None:
        """The answer; None if ``timeout`` ran out and the server has forgotten the request.

        DistNetworkError if the connection is broken, which it stays, or if the server does not react even to the end
        of the request: after another quarter of ``timeout``, which is taken as 1 s at least and 10 s at most.
        """
        deadline = deadline_after(timeout)
        limit_s = _clamped(timeout.total_seconds() or _LONGEST_GRACE_S)
        number = self._send(message, limit_s)
        found = self._receive((number,), deadline, MAX_MESSAGE)
        if found is not None:
            return found[1]
        grace_s = _clamped(timeout.total_seconds() / 4)
        withdrawn = self._send(Message(Greeting.WITHDRAW), grace_s)
        found = self._receive((number, withdrawn), time.monotonic() + grace_s, MAX_MESSAGE)
        if found is None:  # a later answer is skipped
            raise DistNetworkError(NO_ANSWER.format(seconds=grace_s, **self._name))
        return found[1] if found[0] == number else None

    def close(self) -> None:
        """Close the connection; later calls fail."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _attempt(self, host: str, port: int, token: bytes, deadline: float | None) -> None:
        self._incoming.clear()
        self._sock = sock = connect(host, port, deadline)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        nonce = os.urandom(NONCE_BYTES)
        challenge = self._greet(Message(Greeting.HELLO, 0, [PROTOCOL, nonce]), deadline)
        if challenge.kind != Greeting.CHALLENGE or len(challenge.fields) != 1:
            raise ValueError("what listens there is no store of fake_torch_dist")
        if not token and (reason := foreign(sock)):  # only now: before the server has accepted, its end has no owner
            raise DistNetworkError(FOREIGN_SERVER.format(reason=reason, **self._name))
        nonces = nonce, challenge.fields[0]
        answer = self._greet(Message(Greeting.PROOF, 0, [proof(token, b"client", *nonces)]), deadline)
        if answer.kind == Greeting.WRONG_TOKEN:
            raise DistNetworkError(WRONG_TOKEN.format(**self._name))
        if answer != Message(Greeting.WELCOME, 0, [proof(token, b"server", *nonces)]):
            raise DistNetworkError(STRANGE_SERVER.format(**self._name))

    def _greet(self, message: Message, deadline: float | None) -> Message:
        """The answer to a greeting. DistNetworkError for the answer of another program, or after _SILENCE_S without
        one."""
        now = time.monotonic()
        left_s = _SILENCE_S if deadline is None else min(_SILENCE_S, max(0.0, deadline - now))
        try:
            number = self._send(message)
            for limit_s in (min(self._prompt_s, left_s / 2), left_s):
                found = self._receive((number,), now + limit_s, MAX_GREETING)
                if found is not None:
                    return found[1]
                self._refuse_torch(now + left_s - time.monotonic())
        except DistNetworkError as error:
            if isinstance(error.__cause__, ValueError):
                why = f"it answered {bytes(self._incoming[:32])!r}"
                raise DistNetworkError(NO_STORE.format(why=why, **self._name)) from error
            if isinstance(error.__cause__, OSError):
                self._refuse_torch(now + left_s - time.monotonic())
                raise _HungUpError(f"the connection was closed in the greeting ({error})") from error
            raise
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError("what listens there does not greet as a store of fake_torch_dist")
        why = f"it has said nothing for {_SILENCE_S:g} seconds"
        raise DistNetworkError(NO_STORE.format(why=why, **self._name))

    def _refuse_torch(self, left_s: float) -> None:
        """TorchStoreError if the server is torch's; it is asked once, if time is left."""
        if self._is_torch is None and left_s > 0:
            self._is_torch = is_torch_store(*self._address, min(left_s, _PROMPT_S))
        if self._is_torch:
            raise TorchStoreError(TORCH_STORE.format(**self._name))

    def _send(self, message: Message, limit_s: float = _LONGEST_GRACE_S) -> int:
        """Send it all, however long that takes, as long as the server goes on reading; the request's number.

        ``limit_s``: after so long without reading, DistNetworkError.
        """
        self._number = (self._number + 1) & 0xFFFFFFFF
        data = memoryview(frame(self._number, message))
        sock = self._open_socket()
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self.close()
            raise DistNetworkError(CONNECTION_RESET if _was_reset(error) else BROKEN_PIPE) from error
        if data:
            self._send_rest(sock, data, limit_s)
        return self._number

    def _send_rest(self, sock: socket.socket, data: memoryview, limit_s: float) -> None:
        """Send the rest of a request, and read meanwhile: a server with an unread answer for this client reads no
        more."""
        both = select.poll()
        both.register(sock, select.POLLIN | select.POLLOUT)
        try:
            while data:
                events = both.poll(limit_s * 1000)
                if not events:
                    raise DistNetworkError(NO_ANSWER.format(seconds=limit_s, **self._name))
                if events[0][1] & select.POLLOUT:
                    data = data[sock.send(data) :]
                if events[0][1] & ~select.POLLOUT:
                    self._read(sock)
        except OSError as error:
            self.close()
            raise DistNetworkError(CONNECTION_RESET if _was_reset(error) else BROKEN_PIPE) from error
        except BaseException:  # half a request has been sent
            self.close()
            raise

    def _receive(self, wanted: tuple[int, ...], deadline: float | None, limit: int) -> tuple[int, Message] | None:
        """The first answer to one of the ``wanted`` requests; None at the deadline. Other answers are dropped."""
        sock = self._open_socket()
        try:
            while True:
                while (found := next_frame(self._incoming, limit)) is not None:
                    if found[0] in wanted:
                        return found
                if self._poll.poll(math.ceil(next_wait_s(deadline) * 1000)):
                    self._read(sock)
                elif deadline is not None and time.monotonic() >= deadline:
                    return None
        except (OSError, ValueError) as error:
            self.close()
            raise DistNetworkError(CONNECTION_RESET if _was_reset(error) else CONNECTION_CLOSED) from error

    def _read(self, sock: socket.socket) -> None:
        data = sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("end of stream")
        self._incoming += data

    def _open_socket(self) -> socket.socket:
        if self._sock is None:
            raise DistNetworkError(BROKEN_PIPE)
        return self._sock


def _was_reset(error: Exception) -> bool:
    """True if the other end has aborted the connection; an end of stream has no number."""
    return isinstance(error, OSError) and error.errno == errno.ECONNRESET


def _clamped(seconds: float) -> float:
    return min(_LONGEST_GRACE_S, max(_SHORTEST_GRACE_S, seconds))
