"""The user of the process at the other end of a connection, by which a job without a token admits processes.

The kernel has the owner of every socket of this host. It is read through netlink (sock_diag, one lookup), else from
``/proc/self/net/tcp`` and ``tcp6``.

What this module does not do: see through programs that forward connections (a proxy, ssh -L, docker-proxy): their owner
counts as the owner of the connections that they forward.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from contextlib import suppress
from typing import Final, NamedTuple

from fake_torch_dist.launcher.environment_names import TOKEN

OTHER_USER = "belongs to user {user}, and this process to user {own}"
OTHER_HOST = "is on another host, in another network namespace, or gone"
UNKNOWN_USER = "cannot be checked: this system tells its owner neither through netlink nor in /proc/net/tcp"
WAY_OUT = (
    f"Without {TOKEN} only processes of one user on one host form a job; set it to the same secret for all of them"
)

_ESTABLISHED, _SYN_RECV, _LISTEN, _NEW_SYN_RECV = 1, 3, 10, 12
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""Before an IPv4 address in an IPv6 socket."""
_NO_USER: Final = 65534
"""A user namespace shows every user that it does not map as this one."""


class _Address(NamedTuple):
    packed: bytes
    """4 bytes, or 16."""
    port: int


class _Row(NamedTuple):
    """A TCP socket in the kernel's table."""

    state: int
    user: int
    inode: int
    """0: no process has it, so ``user`` means nothing."""


def foreign(connection: socket.socket) -> str:
    """The reason why the other end of a TCP or Unix connection may be another user's process; empty if it is this
    user's.

    A listener that has not accepted the connection yet is the other end's owner.
    """
    if connection.family == socket.AF_UNIX:
        return _reason_against(unix_credentials(connection)[1])
    try:
        peer, own = _address(connection.getpeername()), _address(connection.getsockname())
        row = _look_up(peer, own)
        if row is not None and not row.inode and row.state in (_ESTABLISHED, _SYN_RECV, _NEW_SYN_RECV):
            row = _listener(peer)
    except OSError:
        return UNKNOWN_USER
    if row is None or not row.inode or row.state not in (_ESTABLISHED, _LISTEN):
        return OTHER_HOST
    return _reason_against(row.user)


def foreign_listener(host: str, port: int) -> str:
    """The reason why the listener at this address may be another user's process; empty if it is this user's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        row = _listener(_Address(socket.inet_pton(family, host), port))
    except OSError:
        return UNKNOWN_USER
    return OTHER_HOST if row is None or not row.inode else _reason_against(row.user)


def is_own(user: int) -> bool:
    """True if ``user``, as the kernel reports it, is this process's."""
    return user == os.geteuid() and (user != _NO_USER or _maps_all_users())


def unix_credentials(connection: socket.socket) -> tuple[int, int]:
    """Process id and user id of the other end of a Unix socket; for the connecting end, of the process that listens."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", credentials)
    return pid, user


def _reason_against(user: int) -> str:
    return "" if is_own(user) else OTHER_USER.format(user=user, own=os.geteuid())


def _maps_all_users() -> bool:
    with suppress(OSError), open("/proc/self/uid_map") as file:
        return file.read().split() == ["0", "0", "4294967295"]
    return False


def _address(name: tuple[str, int]) -> _Address:
    host = name[0].partition("%")[0]
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    return _Address(packed.removeprefix(_MAPPED) if len(packed) == 16 else packed, name[1])


def _listener(address: _Address) -> _Row | None:
    row = _look_up(address, _Address(bytes(len(address.packed)), 0))
    return row if row is not None and row.state == _LISTEN else None


def _look_up(local: _Address, remote: _Address) -> _Row | None:
    """The socket of this host with these two addresses, or None. OSError if the kernel cannot be asked."""
    row = None
    with suppress(OSError, struct.error):
        row = _from_netlink(local, remote)
    return row or _from_proc(local, remote) or _from_proc(local, remote)  # a table that changes may hide a row once


# -- netlink -----------------------------------------------------------------------------------------------------------

_SOCK_DIAG, _BY_FAMILY, _REQUEST, _ERROR = 4, 20, 1, 2  # NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, ...
_HEADER: Final = struct.Struct("=IHHII")  # bytes, type, flags, sequence number, sender
_ANY_COOKIE: Final = b"\xff" * 8


def _from_netlink(local: _Address, remote: _Address) -> _Row | None:
    """One lookup, whatever the number of sockets. None also where the kernel has no table for TCP (tcp_diag)."""
    if sys.platform != "linux":
        return None
    family = socket.AF_INET if len(local.packed) == 4 else socket.AF_INET6
    wanted = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    wanted += struct.pack("!HH16s16s4x", local.port, remote.port, local.packed, remote.packed) + _ANY_COOKIE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(_HEADER.pack(_HEADER.size + len(wanted), _BY_FAMILY, _REQUEST, 1, 0) + wanted)
        answer = kernel.recv(8192)
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None
    state = answer[_HEADER.size + 1]
    user, inode = struct.unpack_from("=II", answer, _HEADER.size + 4 + 48 + 12)  # inet_diag_msg
    return _Row(state, user, inode)


# -- /proc -------------------------------------------------------------------------------------------------------------


def _from_proc(local: _Address, remote: _Address) -> _Row | None:
    listens = not remote.port
    for table, prefix in (("tcp", b""), ("tcp6", _MAPPED)) if len(local.packed) == 4 else (("tcp6", b""),):
        names = [_written(_Address(prefix + local.packed, local.port))]
        size = len(prefix + local.packed)
        if listens:
            names.append(_written(_Address(bytes(size), local.port)))
            other = _written(_Address(bytes(size), 0))
        else:
            other = _written(_Address(prefix + remote.packed, remote.port))
        for line in _lines(table):
            if other in line and (row := line.split())[1] in names and row[2] == other:
                return _Row(int(row[3], 16), int(row[7]), int(row[9]))
    return None


def _lines(table: str) -> list[str]:
    try:
        with open(f"/proc/self/net/{table}") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        if table == "tcp6":  # IPv6 is off
            return []
        raise


def _written(address: _Address) -> str:
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    return "".join(f"{word:08X}" for word in words) + f":{address.port:04X}"
