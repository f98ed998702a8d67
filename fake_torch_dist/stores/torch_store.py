"""torch.distributed's TCPStore, recognised at an address and used as a board on which rank 0 leaves an address.

It has just enough of torch's protocol (2.0 to 2.13) for that: a greeting and a ping, which torch's server answers,
and the requests that set a value, wait for one and delete one.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Final

from fake_torch_dist.errors import DistNetworkError, DistStoreError

_GREETING: Final = struct.Struct("<BI")
_LENGTH: Final = struct.Struct("<Q")
_MAGIC: Final = 0x3C85F7CE
_VALIDATE, _SET, _GET, _WAIT, _DELETE_KEY, _PING = 0, 1, 3, 6, 8, 13
_STOP_WAITING: Final = 0
_LONGEST_VALUE: Final = 4096
_ENDED: Final = "torch's store at {host}:{port} has ended the connection"  # DistNetworkError
_NO_KEY: Final = "wait timeout after {ms}ms, keys: {key}"  # DistStoreError


class TorchStoreError(DistNetworkError):
    """The server at the address of a store is torch's."""


def is_torch_store(host: str, port: int, timeout_s: float) -> bool:
    """True if torch's server answers a ping on a new connection; False also without an answer within ``timeout_s``."""
    nonce = os.urandom(4)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as sock:
            sock.sendall(_GREETING.pack(_VALIDATE, _MAGIC) + bytes((_PING,)) + nonce)
            return _read(sock, len(nonce)) == nonce
    except OSError:
        return False


def set_value(host: str, port: int, key: bytes, value: bytes, timeout_s: float) -> None:
    """Leave ``value`` under ``key``. DistNetworkError if the store cannot be reached."""
    nonce = os.urandom(4)  # requests of one connection are handled in order, so that the ping is answered last
    request = bytes((_SET,)) + _text(key) + _text(value) + bytes((_PING,)) + nonce
    if _answer(host, port, request, len(nonce), timeout_s) != nonce:
        raise DistNetworkError(_ENDED.format(host=host, port=port))


def delete_value(host: str, port: int, key: bytes, timeout_s: float) -> None:
    """Delete the value under ``key``, if there is one. DistNetworkError if the store cannot be reached."""
    if len(_answer(host, port, bytes((_DELETE_KEY,)) + _text(key), _LENGTH.size, timeout_s)) != _LENGTH.size:
        raise DistNetworkError(_ENDED.format(host=host, port=port))


def wait_for_value(host: str, port: int, key: bytes, timeout_s: float) -> bytes:
    """The value under ``key``, as soon as there is one. DistStoreError after ``timeout_s``; DistNetworkError if the
    store is gone."""
    until_s = time.monotonic() + timeout_s
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as sock:
            sock.sendall(_GREETING.pack(_VALIDATE, _MAGIC) + bytes((_WAIT,)) + _LENGTH.pack(1) + _text(key))
            sock.settimeout(max(0.001, until_s - time.monotonic()))
            if _read(sock, 1) == bytes((_STOP_WAITING,)):
                sock.sendall(bytes((_GET,)) + _text(key))
                header = _read(sock, _LENGTH.size)
                size = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else _LONGEST_VALUE + 1
                value = _read(sock, size) if size <= _LONGEST_VALUE else b""
                if len(value) == size:
                    return value
    except TimeoutError:
        raise DistStoreError(_NO_KEY.format(ms=round(timeout_s * 1000), key=key.decode())) from None
    except OSError as error:
        raise DistNetworkError(_ENDED.format(host=host, port=port) + f": {error}") from error
    raise DistNetworkError(_ENDED.format(host=host, port=port))


def _answer(host: str, port: int, request: bytes, size: int, timeout_s: float) -> bytes:
    """The answer to a request, of ``size`` bytes; fewer if the server ends the connection."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as sock:
            sock.sendall(_GREETING.pack(_VALIDATE, _MAGIC) + request)
            return _read(sock, size)
    except OSError as error:
        raise DistNetworkError(_ENDED.format(host=host, port=port) + f": {error}") from error


def _text(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _read(sock: socket.socket, size: int) -> bytes:
    """``size`` bytes; fewer at the end of the connection. TimeoutError after the socket's time-out without any."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data
