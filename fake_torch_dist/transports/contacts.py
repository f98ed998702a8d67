"""``Contacts``: the addresses of all ranks, by which they connect to each other."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

HOST_BYTES: Final = 16
NAME_BYTES: Final = 12
UNIX_PREFIX: Final = "\0fake-torch-dist-"
_CONTACT: Final = struct.Struct(f"<{HOST_BYTES}sI{NAME_BYTES}sB")  # host, process, name, bytes of the TCP address


class Contact(NamedTuple):
    """The addresses of a rank. As bytes it is short, as ranks are given many."""

    host: bytes
    """HOST_BYTES, equal for two ranks that share a kernel and a network namespace."""
    pid: int
    name: bytes
    """NAME_BYTES at random: the name of its Unix socket, and the nonce that a connecting rank signs with the secret."""
    tcp: str = ""
    """address:port; empty when all ranks are on one host."""

    @property
    def unix(self) -> str:
        """The name of its Unix socket, which has no file."""
        return UNIX_PREFIX + self.name.hex()

    def packed(self) -> bytes:
        """The contact as bytes, of which ``host`` comes first."""
        tcp = self.tcp.encode()
        return _CONTACT.pack(self.host, self.pid, self.name, len(tcp)) + tcp

    @classmethod
    def parse(cls, data: bytes) -> tuple[Contact, bytes]:
        """The contact that was ``packed``, and the bytes that follow it; ValueError if there are too few."""
        if len(data) < _CONTACT.size:
            raise ValueError(f"a contact of {len(data)} bytes")
        host, pid, name, length = _CONTACT.unpack_from(data)
        end = _CONTACT.size + length
        return cls(host, pid, name, data[_CONTACT.size : end].decode()), data[end:]


class Values(Protocol):
    """The values that ranks have brought to the meeting; one that is not here is fetched on access, which may raise
    ConnectionError."""

    @property
    def near(self) -> Sequence[int]:
        """The ranks that share this process's kernel, in order; a range if they follow each other."""

    def __len__(self) -> int: ...

    def __getitem__(self, rank: int, /) -> bytes: ...

    def fetch(self, ranks: Collection[int], /) -> None:
        """Fetch the values of these ranks that are not here, with one request."""

    def close(self) -> None:
        """Fetch no more."""


class Contacts:
    """The contacts of all ranks as bytes, which are parsed on access, as a rank sends to few of the others.

    An access raises ConnectionError if ``packed`` or ``addresses`` has to ask for a value and cannot.
    """

    def __init__(self, packed: Values, addresses: Values | None = None) -> None:
        """``addresses`` are the TCP addresses of all, if not all are on one host."""
        self.near: Final = packed.near
        self._packed, self._addresses = packed, addresses
        self._read: dict[int, Contact] = {}

    def fetch(self, ranks: Collection[int]) -> None:
        """Have the contacts of these ranks at hand, with one request instead of one for each."""
        self._packed.fetch(ranks)
        if self._addresses is not None:
            self._addresses.fetch(ranks)

    def close(self) -> None:
        """Ask for no more values, so that nothing keeps the store alive in which they are."""
        self._packed.close()
        if self._addresses is not None:
            self._addresses.close()

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, rank: int) -> Contact:
        found = self._read.get(rank)
        if found is None:
            found, _ = Contact.parse(self._packed[rank])
            if self._addresses is not None:
                found = found._replace(tcp=self._addresses[rank].decode())
            self._read[rank] = found
        return found


def host_identity() -> str:
    """A text that is equal for processes that can reach each other through the kernel they share."""
    try:
        boot = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
        try:
            name = os.read(boot, 64).decode().strip()
        finally:
            os.close(boot)
        return f"{name}/{os.stat('/proc/self/ns/net').st_ino}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()
