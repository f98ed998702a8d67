"""The handshake of two launchers: both sides recognise each other before a node joins a job.

The joining side sends ``Hello``, gets ``Challenge``, sends ``Join``, and gets ``Welcome`` or ``JoinRejected``. Both
prove that they have the same token, or, without a token, check that the other belongs to the same user of this host.
Later messages are neither signed nor encrypted.
"""

from __future__ import annotations

import hmac
import os
import socket
from collections.abc import Callable
from typing import Final, TypeAlias

from fake_torch_dist.launcher.channel import Channel
from fake_torch_dist.launcher.environment_names import TOKEN
from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.launcher.protocol.host_messages import (
    FROM_HOST,
    PROTOCOL,
    TO_HOST,
    Challenge,
    FromHost,
    Hello,
    Join,
    JoinRejected,
    JoinRequest,
    ToHost,
    Welcome,
)
from fake_torch_dist.stores.authentication import NONCE_BYTES, proof
from fake_torch_dist.stores.connected_user import WAY_OUT, foreign
from fake_torch_dist.terminal.descriptor import printable

HANDSHAKE_S: Final = 30.0
"""Time that a joining side has for the handshake."""
_JOINING: Final = b"joining launcher"
_HOSTING: Final = b"hosting launcher"
_MAX_REASON_CHARS: Final = 1000

NodeChannel: TypeAlias = Channel[FromHost, ToHost]
HostChannel: TypeAlias = Channel[ToHost, FromHost]
NodeCallbacks: TypeAlias = tuple[Callable[[ToHost], None], Callable[[], None]]
"""Called with each message of an admitted node, and at the end of its connection."""


class JoinRefused(Exception):
    """A node cannot join; the text is for its user."""


class UnexpectedStepError(ValueError):
    """A message does not come at this step of the handshake."""


class HostingHandshake:
    """The hosting side of one connection.

    ``admit`` raises JoinRefused, or returns the callbacks for the admitted node. ``on_settled`` is called when the
    connection has become a node's, or has been closed before that.
    """

    def __init__(
        self,
        loop: EventLoop,
        connection: socket.socket,
        address: str,
        token: bytes,
        admit: Callable[[JoinRequest, NodeChannel], NodeCallbacks],
        on_refused: Callable[[str], None],
        on_settled: Callable[[HostingHandshake], None],
    ) -> None:
        self._token = token
        self._connection = connection
        self._admit = admit
        self._on_refused = on_refused
        self._on_settled = on_settled
        self._name = printable(address[:_MAX_REASON_CHARS])
        self._nonces = (b"", os.urandom(NONCE_BYTES))
        self._node: NodeCallbacks | None = None
        self._channel: NodeChannel = Channel(
            loop, connection, TO_HOST, lambda message, _: self._on_message(message), self._on_end
        )
        self._timer = loop.after(HANDSHAKE_S, self.close)

    def close(self) -> None:
        """Close the connection, unless it has become a node's."""
        self._timer.cancel()
        if self._node is None:
            self._channel.close()
            self._on_settled(self)

    def _on_end(self) -> None:
        if self._node:
            self._node[1]()
        else:
            self.close()

    def _on_message(self, message: ToHost) -> None:
        if self._node:
            self._node[0](message)
            return
        try:
            self._advance(message)
        except JoinRefused as refusal:
            self._on_refused(f"{self._name}: {refusal}")
            self._channel.send(JoinRejected(str(refusal)))
            self.close()
        except UnexpectedStepError:
            self.close()

    def _advance(self, message: ToHost) -> None:
        """Take the next message of the handshake."""
        theirs, ours = self._nonces
        match message:
            case Hello() if not theirs:
                self._nonces = (_checked_nonce(message.nonce), ours)
                self._channel.send(Challenge(ours))
            case Join() if theirs:
                self._check(message)
                self._node = self._admit(message.application, self._channel)
                self._timer.cancel()
                self._on_settled(self)
                self._channel.send(Welcome(proof(self._token, _HOSTING, theirs, ours)))
            case _:
                raise UnexpectedStepError

    def _check(self, message: Join) -> None:
        """Raise JoinRefused for a node of another job or version, UnexpectedStepError for a request without ranks."""
        request = message.application
        if not hmac.compare_digest(proof(self._token, _JOINING, *self._nonces), message.proof):
            raise JoinRefused(f"{TOKEN} is not the same on both nodes: set it to the same secret")
        if not self._token and (reason := foreign(self._connection)):
            raise JoinRefused(f"what connects from there {reason}. {WAY_OUT}")
        if request.protocol != PROTOCOL:
            raise JoinRefused(f"the other node speaks {PROTOCOL!r}, this one {request.protocol!r}: install one version")
        if request.nproc_per_node < 1:
            raise UnexpectedStepError("no ranks")


class JoiningHandshake:
    """The joining side of a connection that has just been made.

    ``on_welcome`` or ``on_refused`` is called once; after ``on_welcome`` come ``on_message`` and ``on_lost``.
    """

    def __init__(
        self,
        loop: EventLoop,
        connection: socket.socket,
        token: bytes,
        request: JoinRequest,
        *,
        on_welcome: Callable[[], None],
        on_refused: Callable[[str], None],
        on_message: Callable[[FromHost], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._token = token
        self._connection = connection
        self._request = request
        self._on_welcome = on_welcome
        self._on_refused = on_refused
        self._on_host_message = on_message
        self._on_lost = on_lost
        self._nonces = (os.urandom(NONCE_BYTES), b"")
        self.is_welcome = False
        self.channel: HostChannel = Channel(
            loop, connection, FROM_HOST, lambda message, _: self._on_message(message), self._on_end
        )
        self.channel.send(Hello(self._nonces[0]))

    def _on_end(self) -> None:
        if self.channel.is_misunderstood and not self.is_welcome:
            self._refuse_version()
        else:
            self._on_lost()

    def _on_message(self, message: FromHost) -> None:
        if self.is_welcome:
            self._on_host_message(message)
            return
        try:
            self._advance(message)
        except UnexpectedStepError:
            self._refuse_version()

    def _advance(self, message: FromHost) -> None:
        """Take the next message of the handshake."""
        ours, theirs = self._nonces
        match message:
            case Challenge():
                self._nonces = (ours, _checked_nonce(message.nonce))
                if not self._token and (reason := foreign(self._connection)):
                    self._refuse(f"what listens there {reason}. {WAY_OUT}")
                    return
                self.channel.send(Join(proof(self._token, _JOINING, *self._nonces), self._request))
            case JoinRejected():
                self._refuse(printable(message.reason[:_MAX_REASON_CHARS]))
            case Welcome() if theirs:
                if not hmac.compare_digest(proof(self._token, _HOSTING, ours, theirs), message.proof):
                    self._refuse(f"what listens there does not know our {TOKEN}")
                    return
                self.is_welcome = True
                self._on_welcome()
            case _:
                raise UnexpectedStepError

    def _refuse_version(self) -> None:
        self._refuse("what listens there is no fake-torchrun of this version")

    def _refuse(self, reason: str) -> None:
        self.channel.close()
        self._on_refused(reason)


def _checked_nonce(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise UnexpectedStepError("no nonce")
    return nonce
