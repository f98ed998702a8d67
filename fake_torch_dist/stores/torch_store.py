"""``is_torch_store``: test for torch.distributed's TCPStore at the address of a store that does not answer.

It speaks just enough of torch's protocol (2.0 to 2.13) for that: a greeting and a ping, which torch's server answers.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

_GREETING_AND_PING: Final = struct.Struct("<BIB4s")
_VALIDATE: Final = 0
_MAGIC: Final = 0x3C85F7CE
_PING: Final = 13


def is_torch_store(host: str, port: int, timeout_s: float) -> bool:
    """True if torch's server answers a ping on a new connection; False also without an answer within ``timeout_s``."""
    nonce = os.urandom(4)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as sock:
            sock.sendall(_GREETING_AND_PING.pack(_VALIDATE, _MAGIC, _PING, nonce))
            return sock.recv(len(nonce)) == nonce
    except OSError:
        return False
