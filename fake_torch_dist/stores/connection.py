"""``Connection``: a client's end of its connection with a store's server."""

from __future__ import annotations

import math
import os
import time
from datetime import timedelta
from typing import Final

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.environment_names import STORE
from fake_torch_dist.stores.after_fork import keep_from_children
from fake_torch_dist.stores.authentication import NONCE_BYTES, PROTOCOL, Greeting, proof
from fake_torch_dist.stores.connected_user import WAY_OUT, foreign
from fake_torch_dist.stores.framed_socket import LONGEST_GRACE_S, NO_ANSWER, FramedSocket
from fake_torch_dist.stores.frames import MAX_GREETING, MAX_MESSAGE
from fake_torch_dist.stores.messages import Message
from fake_torch_dist.stores.sockets import connect
from fake_torch_dist.stores.timeouts import deadline_after, milliseconds
from fake_torch_dist.stores.torch_store import TorchStoreError, is_torch_store

# torch 2.13.0
CONNECT_TIMEOUT = (  # DistNetworkError
    "The client socket has timed out after {ms}ms while trying to connect to ({host}, {port})."
)

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

_SHORTEST_GRACE_S: Final = 1.0
"""The least seconds beyond a time-out in which a server has to react, if they are a part of that; a slower one counts
as lost."""
_PROMPT_S: Final = 0.5
"""Seconds in which a store usually answers the greeting; a slower one is tested for torch's protocol."""
_PROMPT_OF_LAUNCHER_S: Final = 10.0
"""The same for the store that a launcher has announced: it answers no one while it starts a thousand ranks, each of
which would connect twice."""
_SILENCE_S: Final = 30.0
"""Seconds after which a listener that has not answered the greeting counts as no store."""
_SILENCE_OF_LAUNCHER_S: Final = 600.0
"""The same for the store that a launcher has announced, which is one: a thousand interpreters that start leave it a
thousandth of the processors."""


class _HungUpError(ConnectionResetError):
    """The listener has closed a connection that was being greeted: it is ending, busy, or no store."""


class Connection(FramedSocket):
    """A client's end of one connection: greets, then sends one request after another and reads the answers."""

    def __init__(self, host: str, port: int, token: bytes, timeout: timedelta) -> None:
        """Try until connected, or raise DistNetworkError after ``timeout``; at once if the token is wrong."""
        super().__init__(host, port)
        self._address = (host, port)
        announced = os.environ.get(STORE) in (f"{host}:{port}", f"[{host}]:{port}")
        self._prompt_s = _PROMPT_OF_LAUNCHER_S if announced else _PROMPT_S
        self._silence_s = _SILENCE_OF_LAUNCHER_S if announced else _SILENCE_S
        self._is_torch: bool | None = None
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
        limit_s = _clamped(timeout.total_seconds() or LONGEST_GRACE_S)
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

    def _attempt(self, host: str, port: int, token: bytes, deadline: float | None) -> None:
        sock = connect(host, port, deadline)
        self._hold(sock)
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
        """The answer to a greeting. DistNetworkError for the answer of another program, or if there is none."""
        now = time.monotonic()
        left_s = self._silence_s if deadline is None else min(self._silence_s, max(0.0, deadline - now))
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
        why = f"it has said nothing for {self._silence_s:g} seconds"
        raise DistNetworkError(NO_STORE.format(why=why, **self._name))

    def _refuse_torch(self, left_s: float) -> None:
        """TorchStoreError if the server is torch's; it is asked once, if time is left."""
        if self._is_torch is None and left_s > 0:
            self._is_torch = is_torch_store(*self._address, min(left_s, _PROMPT_S))
        if self._is_torch:
            raise TorchStoreError(TORCH_STORE.format(**self._name))


def _clamped(seconds: float) -> float:
    return min(LONGEST_GRACE_S, max(_SHORTEST_GRACE_S, seconds))
