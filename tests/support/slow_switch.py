"""A switch between network namespaces that holds back the data of one of them: python slow_switch.py MS NAMESPACE...

Each namespace, a file of /run/netns, gets a device ``tap0`` with address 10.78.0.1K/24, K its place on the command
line. Of the first one, frames of TCP with data arrive so many milliseconds later than those without, such as its last
acknowledgement and end of a connection. Prints ``up`` when all devices are; runs until it is killed. Needs Linux and
root.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEAD = 0x1002
IPV4_TCP = (b"\x08\x00", 6)


def device_in(namespace: str, number: int) -> int:
    """The descriptor of a new tap device in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/self/ns/net", f"/run/netns/{namespace}"))
    try:
        assert libc.setns(there, 0) == 0, os.strerror(ctypes.get_errno())
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"tap0", TAP_WITHOUT_HEAD))
        for words in (f"addr add 10.78.0.1{number}/24 dev tap0", "link set tap0 up"):
            subprocess.run(["ip", *words.split()], check=True)
    finally:
        assert libc.setns(home, 0) == 0
        os.close(home)
        os.close(there)
    return device


def has_data(frame: bytes) -> bool:
    """True for a frame of IPv4 and TCP that carries more than headers."""
    if (frame[12:14], frame[23]) != IPV4_TCP:
        return False
    head = 4 * (frame[14] & 15)
    whole = int.from_bytes(frame[16:18], "big")
    return whole > head + 4 * (frame[14 + head + 12] >> 4)


def switch(devices: list[int], delay_s: float) -> None:
    """Carry frames for ever; one to a device that is not known goes to all others."""
    homes: dict[bytes, int] = {}
    on_their_way: list[tuple[float, int, int, bytes]] = []
    count = itertools.count()
    while True:
        wait_s = max(0.0, on_their_way[0][0] - time.monotonic()) if on_their_way else 1.0
        for device in select.select(devices, [], [], wait_s)[0]:
            frame = os.read(device, 65536)
            homes[frame[6:12]] = device
            late_s = delay_s if device == devices[0] and has_data(frame) else 0.0
            for goal in [homes[frame[:6]]] if frame[:6] in homes else [each for each in devices if each != device]:
                heapq.heappush(on_their_way, (time.monotonic() + late_s, next(count), goal, frame))
        while on_their_way and on_their_way[0][0] <= time.monotonic():
            *_, goal, frame = heapq.heappop(on_their_way)
            os.write(goal, frame)


if __name__ == "__main__":
    taps = [device_in(namespace, number) for number, namespace in enumerate(sys.argv[2:])]
    print("up", flush=True)
    switch(taps, float(sys.argv[1]) / 1000)
