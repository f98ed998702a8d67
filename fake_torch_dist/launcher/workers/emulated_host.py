"""Gives an emulated node a host name that every rank can resolve.

An agent gets its own UTS and mount namespaces, and an /etc/hosts with the names of all nodes, each at its own loopback
address. Without the rights for that, the host's own name stays.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from fake_torch_dist.terminal.descriptor import write_all

# linux/sched.h, linux/mount.h
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUTS: Final = 0x04000000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_SLAVE: Final = 1 << 19

_HOSTS: Final = "/etc/hosts"
_DIRECTORIES: Final = ("/tmp", "/dev/shm", "/run", "/var/tmp")
"""Directories, after TMPDIR, for a file that exists for an instant."""

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def set_hostname(name: str, names: Sequence[str]) -> bool:
    """Give this process, and those it forks, the host name ``name``, one of ``names``. False if it keeps its own."""
    if _libc is None or _libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS) != 0:
        return False
    encoded = name.encode()
    return _replace_hosts(names) and bool(_libc.sethostname(encoded, len(encoded)) == 0)


def _replace_hosts(names: Sequence[str]) -> bool:
    """Mount an /etc/hosts that has ``names`` over the real one, in this mount namespace only."""
    assert _libc is not None
    if _libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None) != 0:
        return False
    try:
        with open(_HOSTS, "rb") as hosts:
            text = hosts.read().rstrip(b"\n") + b"\n" + _lines(names)
    except OSError:
        return False
    for directory in (*filter(None, [os.environ.get("TMPDIR")]), *_DIRECTORIES):
        path = os.path.join(directory, f".fake-torchrun-hosts-{os.getpid()}-{os.urandom(8).hex()}")
        with suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(fd, 0o644)  # independent of the umask
                write_all(fd, text)  # a full disk raises OSError
                return bool(_libc.mount(os.fsencode(path), _HOSTS.encode(), None, _MS_BIND, None) == 0)
            finally:
                os.close(fd)
                os.unlink(path)  # the mount keeps the file
    return False


def _lines(names: Sequence[str]) -> bytes:
    """Return lines with a loopback address for each name, so that the address resolves back to the name."""
    addresses = (f"127.1.{number >> 8 & 255}.{number & 255}" for number in range(1, len(names) + 1))
    return "".join(f"{address} {name}\n" for address, name in zip(addresses, names, strict=True)).encode()
