"""How the command of one node and the one that hosts the job recognise each other, and what they tell each other.

Over a ``Channel``: ``hello`` (nonce), ``challenge`` (nonce), ``join`` (proof, request), then ``welcome`` (proof) or
``refused`` (reason). Both prove that they have the same token, or without one check that the other belongs to the same
user of this host; what they say later is neither signed nor encrypted.
"""

from __future__ import annotations

import hmac
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from fake_torch_dist.launcher.channel import Channel, LogMessage
from fake_torch_dist.launcher.hosts.endpoint import printable
from fake_torch_dist.launcher.loop import Loop
from fake_torch_dist.stores.authentication import NONCE_BYTES, TOKEN_VARIABLE, proof
from fake_torch_dist.stores.connected_user import WAY_OUT, foreign

GREETING_S: Final = 30.0
PROTOCOL: Final = "fake-torchrun 3"
_JOINING: Final = b"joining launcher"
_HOSTING: Final = b"hosting launcher"


class JoinRefused(Exception):
    """A node can't join; the text is for its user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinRequest:
    """Who wants to join, and what it believes the job to be."""

    protocol: str = PROTOCOL
    backend: str
    run_id: str
    min_nodes: int
    max_nodes: int
    node_rank: int
    """-1: as it comes."""
    nproc_per_node: int
    host: str
    pid: int

    def __str__(self) -> str:
        node = f"node {self.node_rank} on " if self.node_rank >= 0 else ""
        return f"{node}{printable(self.host)} (pid {self.pid})"


class HostingHandshake:
    """The hosting side of a connection: strangers first, then a node.

    ``admit`` raises ``JoinRefused``, or returns who hears what the node says from then on, and its end.
    """

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        address: str,
        token: bytes,
        admit: Callable[[JoinRequest, Channel], tuple[Callable[[LogMessage], None], Callable[[], None]]],
        on_refused: Callable[[str], None],
        on_gone: Callable[[HostingHandshake], None],
    ) -> None:
        """``on_gone``: this is no stranger any more, nor will it be a node."""
        self._token = token
        self._connection = connection
        self._admit = admit
        self._on_refused = on_refused
        self._on_gone = on_gone
        self._name = printable(address)
        self._nonces = (b"", os.urandom(NONCE_BYTES))
        self._node: tuple[Callable[[LogMessage], None], Callable[[], None]] | None = None
        self._channel = Channel(loop, connection, lambda message, _: self._heard(message), self._lost)
        self._timer = loop.after(GREETING_S, self.close)

    def close(self) -> None:
        """Unless it has become a node."""
        self._timer.cancel()
        if self._node is None:
            self._channel.close()
            self._on_gone(self)

    def _lost(self) -> None:
        if self._node:
            self._node[1]()
        else:
            self.close()

    def _heard(self, message: LogMessage) -> None:
        if self._node:
            self._node[0](message)
            return
        try:
            self._greet(message)
        except JoinRefused as refusal:
            self._on_refused(f"{self._name}: {refusal}")
            self._channel.send({"kind": "refused", "reason": str(refusal)})
            self.close()
        except (KeyError, TypeError, ValueError):
            self.close()

    def _greet(self, message: LogMessage) -> None:
        theirs, ours = self._nonces
        if message["kind"] == "hello" and not theirs:
            self._nonces = (_nonce(message), ours)
            self._channel.send({"kind": "challenge", "nonce": ours.hex()})
            return
        if message["kind"] != "join" or not theirs:
            raise ValueError("not what is said next")
        if not hmac.compare_digest(proof(self._token, _JOINING, theirs, ours), bytes.fromhex(message["proof"])):
            raise JoinRefused(f"{TOKEN_VARIABLE} is not the same on both nodes: set it to the same secret")
        if not self._token and (reason := foreign(self._connection)):
            raise JoinRefused(f"what connects from there {reason}. {WAY_OUT}")
        request = _application(message["request"])
        self._node = self._admit(request, self._channel)
        self._timer.cancel()
        self._on_gone(self)
        self._channel.send({"kind": "welcome", "proof": proof(self._token, _HOSTING, theirs, ours).hex()})


class JoiningHandshake:
    """The joining side, on a connection that has just been made."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        token: bytes,
        request: JoinRequest,
        *,
        on_welcome: Callable[[], None],
        on_refused: Callable[[str], None],
        on_message: Callable[[LogMessage], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._token = token
        self._connection = connection
        self._application = request
        self._on_welcome = on_welcome
        self._on_refused = on_refused
        self._on_message = on_message
        self._nonces = (os.urandom(NONCE_BYTES), b"")
        self.welcome = False
        self.channel = Channel(loop, connection, lambda message, _: self._heard(message), on_lost)
        self.channel.send({"kind": "hello", "nonce": self._nonces[0].hex()})

    def _heard(self, message: LogMessage) -> None:
        if self.welcome:
            self._on_message(message)
            return
        try:
            self._greet(message)
        except (KeyError, TypeError, ValueError):
            self._refuse("what listens there is no fake-torchrun of this version")

    def _greet(self, message: LogMessage) -> None:
        ours, theirs = self._nonces
        match message["kind"]:
            case "challenge":
                self._nonces = (ours, _nonce(message))
                if not self._token and (reason := foreign(self._connection)):
                    self._refuse(f"what listens there {reason}. {WAY_OUT}")
                    return
                shown = proof(self._token, _JOINING, *self._nonces).hex()
                self.channel.send({"kind": "join", "proof": shown, "request": asdict(self._application)})
            case "refused":
                self._refuse(printable(message["reason"]))
            case "welcome" if theirs:
                if not hmac.compare_digest(proof(self._token, _HOSTING, ours, theirs), bytes.fromhex(message["proof"])):
                    self._refuse(f"what listens there does not know our {TOKEN_VARIABLE}")
                    return
                self.welcome = True
                self._on_welcome()
            case _:
                raise ValueError("not what is said next")

    def _refuse(self, reason: str) -> None:
        self.channel.close()
        self._on_refused(reason)


def _nonce(message: LogMessage) -> bytes:
    nonce = bytes.fromhex(message["nonce"])
    if len(nonce) != NONCE_BYTES:
        raise ValueError("no nonce")
    return nonce


def _application(fields: dict[str, Any]) -> JoinRequest:
    request = JoinRequest(**fields)
    if request.protocol != PROTOCOL:
        raise JoinRefused(f"the other node speaks {PROTOCOL!r}, this one {request.protocol!r}: install one version")
    if not all(isinstance(getattr(request, name), int) for name in ("node_rank", "nproc_per_node", "pid")):
        raise TypeError("numbers that are none")
    if request.nproc_per_node < 1:
        raise ValueError("no ranks")
    return request
