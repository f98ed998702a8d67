"""Reading another process's memory, where the kernel allows it: one copy instead of two, and nothing to clean up.

Linux has process_vm_readv(2) for processes of one user; with Yama, the process that is read has to allow it (prctl).
Where it is refused, in some containers and on other systems, bytes go through sockets instead.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any, Final

import numpy as np

from fake_torch_dist.core.reduction import Array

_PR_SET_PTRACER: Final = 0x59616D61
_PR_SET_PTRACER_ANY: Final = ctypes.c_ulong(-1)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.process_vm_readv.restype = ctypes.c_ssize_t
    library.process_vm_readv.argtypes = [
        ctypes.c_int, ctypes.POINTER(_IoVec), ctypes.c_ulong, ctypes.POINTER(_IoVec), ctypes.c_ulong, ctypes.c_ulong,
    ]  # fmt: skip
    return library


def allow() -> None:
    """Let the other processes of this user read this one's memory."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)


def address_of(array: Array) -> int:
    """The address of the first byte of a contiguous array."""
    return int(array.__array_interface__["data"][0])


def read(pid: int, address: int, into: Array) -> None:
    """Fill ``into``, contiguous, from the memory of ``pid``. OSError if that process is gone or the kernel refuses."""
    done, size = 0, into.nbytes
    base = address_of(into)
    while done < size:
        here, there = _IoVec(base + done, size - done), _IoVec(address + done, size - done)
        count = _libc().process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if count <= 0:
            number = ctypes.get_errno()
            raise OSError(number, f"reading memory of process {pid}: {os.strerror(number)}")
        done += count


def works(pid: int, address: int, expected: bytes) -> bool:
    """True if the memory of ``pid`` can be read, as a test with known bytes shows."""
    if sys.platform != "linux":
        return False
    found = np.empty(len(expected), np.uint8)
    try:
        read(pid, address, found)
    except (OSError, AttributeError):
        return False
    return found.tobytes() == expected
