"""Authentication of a client and a server of one job to each other, before the first request.

Both prove with keyed BLAKE2b (RFC 7693) over two nonces that they have the job's token. Without a token the proof
proves nothing, and both check instead the user of the other process (``connected_user``).

What this module does not do: encryption (the token is never sent, keys and values are, as in torch).
"""

from __future__ import annotations

import hashlib
import os
from enum import IntEnum
from typing import Final

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.environment_names import TOKEN, TOKEN_FILE

NO_TOKEN: Final = (  # DistNetworkError
    f"{TOKEN_FILE} = {{path}}, which {{reason}}. It is to hold the secret that all processes of the job share"
)
PROTOCOL: Final = b"fake_torch_dist store 3"
NONCE_BYTES: Final = 32
MAC_BYTES: Final = 32


class Greeting(IntEnum):
    """Kinds of messages beside ``messages.Kind``; their fields in brackets."""

    HELLO = 100
    """[PROTOCOL, the client's nonce]"""
    CHALLENGE = 101
    """[the server's nonce]"""
    PROOF = 102
    """[``proof`` of the client]"""
    WELCOME = 103
    """[``proof`` of the server]"""
    WRONG_TOKEN = 104
    """The client's proof is wrong, or its user is another and there is no token; the connection ends."""
    WITHDRAW = 105
    """Answered with DONE; the parked request is forgotten, as by any other request."""


def job_token() -> bytes:
    """The job's token from the environment, or the file that it names; empty for a job that all processes of this user
    on this host can join.

    DistNetworkError if the file cannot be read or is empty.
    """
    token = os.environ.get(TOKEN)
    if token or not os.environ.get(TOKEN_FILE):
        return os.fsencode(token or "")
    path = os.environ[TOKEN_FILE]
    try:
        with open(path, "rb") as file:
            found = file.read().strip()
    except OSError as error:
        raise DistNetworkError(NO_TOKEN.format(path=path, reason=f"can't be read: {error.strerror}")) from error
    if not found:
        raise DistNetworkError(NO_TOKEN.format(path=path, reason="is empty"))
    return found


def proof(token: bytes, who: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """A code that only a holder of the token can compute; ``who`` is b"client" or b"server"."""
    return mac(token, PROTOCOL + b"\0" + who + b"\0" + client_nonce + server_nonce)


def mac(key: bytes, text: bytes) -> bytes:
    """A code of ``text`` that only a holder of ``key``, of any length, can compute.

    BLAKE2b takes a key, so it needs no HMAC around it; OpenSSL's costs a forked rank 47 pages of memory of its own.
    """
    if len(key) > hashlib.blake2b.MAX_KEY_SIZE:
        key = hashlib.blake2b(key).digest()
    return hashlib.blake2b(text, key=key, digest_size=MAC_BYTES).digest()
