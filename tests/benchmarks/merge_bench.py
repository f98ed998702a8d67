"""Lines a second that the launcher merges: many writers flat out, their lines prefixed, into one output.

    python -m tests.benchmarks.merge_bench [--writers 64] [--seconds 2] [--read-bytes 65536] [--pipe-bytes 0]

Printed for each way of writing and each reader, in million lines/s; ``bare`` is the same pipeline without the merge
(read, write on as it is), which is what the machine can do at most. ``memory`` has no pipe at all, only the merge.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.launcher.output.writer import Output

LINE = b"x" * 119 + b"\n"
BLOCK = LINE * (65536 // len(LINE))
"""Bytes that a buffered writer writes at a time; not a divisor of the pipe's size, so reads end inside lines."""
BLOCKS = {"blocks": BLOCK, "lines": LINE}
SINKS = ("/dev/null", "cat >/dev/null")
WARM_UP_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Parameters of a measurement."""

    writers: int = 64
    seconds: float = 2.0
    read_bytes: int = 65536
    pipe_bytes: int = 0
    """Size of each rank's pipe; 0 leaves the system's 64 KiB."""


def prefix(writer: int) -> bytes:
    """As eight nodes of eight have it."""
    return b"[node%d:default%d]:" % divmod(writer, 8)


def merged(setting: Setting) -> list[Callable[[bytes], bytes]]:
    return [LineMerger(prefix(writer)).feed for writer in range(setting.writers)]


def bare(setting: Setting) -> list[Callable[[bytes], bytes]]:
    return [lambda data: data] * setting.writers


def memory_lines_s(setting: Setting) -> float:
    """Lines a second of the merge alone, on chunks that are there already."""
    stream = LINE * (4 * setting.read_bytes // len(LINE))
    chunks = [stream[at : at + setting.read_bytes] for at in range(0, len(stream), setting.read_bytes)]
    feeds = merged(setting)
    end_s, size, begin_s = time.perf_counter() + setting.seconds, 0, time.perf_counter()
    while time.perf_counter() < end_s:
        for feed in feeds:
            for chunk in chunks:
                feed(chunk)
        size += len(feeds) * len(stream)
    return size / len(LINE) / (time.perf_counter() - begin_s)


def pipeline_lines_s(
    setting: Setting, block: bytes, sink: str, feeds: Sequence[Callable[[bytes], bytes]]
) -> tuple[float, float]:
    """Lines a second through writers, pipes, ``feeds`` and ``sink``; and the merging process's share of a core."""
    with _sink(sink) as sink_fd, _writers(setting, block) as fds, select.epoll() as epoll:
        output = Output(sink_fd, on_error=print)
        if output.pollable:
            epoll.register(output, select.EPOLLOUT | select.EPOLLET)
        by_fd = dict(zip(fds, feeds, strict=True))
        for fd in fds:
            epoll.register(fd, select.EPOLLIN)
        _pump(epoll, output, by_fd, setting.read_bytes, WARM_UP_S)
        cpu_s, begin_s = time.process_time(), time.perf_counter()
        size = _pump(epoll, output, by_fd, setting.read_bytes, setting.seconds)
        taken_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - cpu_s
        output.release()
        return size / len(LINE) / taken_s, cpu_s / taken_s


def _pump(
    epoll: select.epoll, output: Output, by_fd: dict[int, Callable[[bytes], bytes]], read_bytes: int, seconds: float
) -> int:
    """Merge for so long; returns the bytes that were read."""
    size, end_s = 0, time.perf_counter() + seconds
    ready: Iterator[int] = iter(())
    while time.perf_counter() < end_s:
        if output.blocked:
            select.select([], [output], [], 0.1)
            output.on_writable()
            continue
        fd = next(ready, -1)
        if fd < 0:
            ready = iter([fd for fd, _ in epoll.poll(0.1) if fd in by_fd])
            continue
        data = os.read(fd, read_bytes)
        size += len(data)
        output.write((by_fd[fd](data),))
    return size


@contextmanager
def _sink(name: str) -> Iterator[int]:
    if name == "/dev/null":
        fd = os.open(name, os.O_WRONLY)
        yield fd
        os.close(fd)
        return
    with open("/dev/null", "wb") as null, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=null) as cat:
        assert cat.stdin
        yield cat.stdin.fileno()


@contextmanager
def _writers(setting: Setting, block: bytes) -> Iterator[list[int]]:
    fds, pids = [], []
    try:
        for _ in range(setting.writers):
            read_fd, write_fd = os.pipe()
            if setting.pipe_bytes:
                fcntl.fcntl(read_fd, fcntl.F_SETPIPE_SZ, setting.pipe_bytes)
            pids.append(os.fork())
            if pids[-1] == 0:
                _write_for_ever(write_fd, block, [read_fd, *fds])
            os.close(write_fd)
            fds.append(read_fd)
        yield fds
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
        for fd in fds:
            os.close(fd)


def _write_for_ever(fd: int, block: bytes, others: list[int]) -> None:
    try:
        for other in others:
            os.close(other)
        while True:
            os.write(fd, block)
    finally:
        os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind in (("writers", int), ("seconds", float), ("read_bytes", int), ("pipe_bytes", int)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Setting, name))
    setting = Setting(**vars(parser.parse_args()))
    print(setting)
    print(f"memory: merged {memory_lines_s(setting) / 1e6:5.1f}")
    for way, block in BLOCKS.items():
        for sink in SINKS:
            for name, feeds in (("merged", merged(setting)), ("bare", bare(setting))):
                lines_s, share = pipeline_lines_s(setting, block, sink, feeds)
                print(f"{way:6s} -> {sink:15s} {name:6s} {lines_s / 1e6:5.2f}  ({share:4.0%} of a core)", flush=True)


if __name__ == "__main__":
    main()
