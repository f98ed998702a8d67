"""Times how a world meets: ranks forked from a warm interpreter, and a store in their parent's loop.

    python tests/benchmarks/meeting_bench.py [WORLD_SIZE] [REPEATS]

Prints a JSON object for each repeat; ``Figures`` says what the numbers are.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import fake_torch_dist as dist
from fake_torch_dist.stores.messages import Message
from fake_torch_dist.stores.parked_requests import Peer
from fake_torch_dist.stores.server import StoreServer
from fake_torch_dist.stores.sockets import listen

DEADLINE_S = 60.0
BARRIERS = 20
_MARKS = struct.Struct("<8d")


class Marks(NamedTuple):
    """Figures that a rank measures of itself; times of the monotonic clock."""

    called: float
    met: float
    passed_barrier: float
    repeated: float
    left: float
    cpu_s: float
    switches: float
    pss_bytes: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Cost of a meeting, in wall time from the first rank's begin to the last rank's end."""

    world_size: int
    fork_ms: float
    init_ms: float
    barrier_ms: float
    """The first, from the last return of ``init_process_group``."""
    next_barriers_ms: float
    """One of those that follow, on average."""
    whole_ms: float
    """From the first fork to the end of the last process."""
    rank_cpu_ms: float
    """Per rank, without its end."""
    server_cpu_ms: float
    """Figure of the parent, with its forks."""
    requests_per_rank: float
    received_bytes_per_rank: float
    context_switches_per_rank: float
    total_pss_mb: float
    """Memory of all ranks after the barrier, in 10^6 bytes; 0 unless asked for."""


class CountingServer(StoreServer):
    """Counts what clients ask."""

    requests = 0
    received_bytes = 0

    def _request(self, peer: Peer, number: int, message: Message) -> None:
        self.requests += 1
        self.received_bytes += sum(map(len, message.fields))
        super()._request(peer, number, message)


def measure(world_size: int, *, with_pss: bool = False) -> Figures:
    """Let a world of forked ranks meet, pass a barrier and part."""
    import fake_torch_dist.before_fork  # noqa: F401  as a launcher does

    gc.freeze()
    listener = listen("127.0.0.1", 0)
    server = CountingServer(listener, b"")
    os.environ |= {
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": "8",
        "FAKE_TORCH_DIST_STORE": f"127.0.0.1:{server.port}",
    }
    cpu_s, begin = time.process_time(), time.monotonic()
    ranks: dict[int, int] = {}
    for rank in range(world_size):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            for fd in (*ranks, reader, listener.fileno()):
                os.close(fd)
            _play(rank, writer, with_pss)
        os.close(writer)
        ranks[reader] = pid
    forked = time.monotonic()
    try:
        marks = _serve(server, list(ranks))
    except RuntimeError:
        for pid in ranks.values():
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        for pid in ranks.values():
            os.waitpid(pid, 0)
    ended, cpu_s = time.monotonic(), time.process_time() - cpu_s
    server.close()
    met, passed = max(mark.met for mark in marks), max(mark.passed_barrier for mark in marks)
    repeated = max(mark.repeated for mark in marks)
    return Figures(
        world_size,
        fork_ms=(forked - begin) * 1e3,
        init_ms=(met - min(mark.called for mark in marks)) * 1e3,
        barrier_ms=(passed - met) * 1e3,
        next_barriers_ms=(repeated - passed) / BARRIERS * 1e3,
        whole_ms=(ended - begin) * 1e3,
        rank_cpu_ms=sum(mark.cpu_s for mark in marks) / world_size * 1e3,
        server_cpu_ms=cpu_s * 1e3,
        requests_per_rank=server.requests / world_size,
        received_bytes_per_rank=server.received_bytes / world_size,
        context_switches_per_rank=sum(mark.switches for mark in marks) / world_size,
        total_pss_mb=sum(mark.pss_bytes for mark in marks) / 1e6,
    )


def _play(rank: int, writer: int, with_pss: bool) -> NoReturn:
    """Be a rank, and end."""
    try:
        os.environ["RANK"] = str(rank)
        called = time.monotonic()
        dist.init_process_group("gloo")
        met = time.monotonic()
        dist.barrier()
        passed = time.monotonic()
        for _ in range(BARRIERS):
            dist.barrier()
        repeated = time.monotonic()
        pss_bytes = _pss_bytes() if with_pss else 0.0
        dist.barrier()
        dist.destroy_process_group()
        left = time.monotonic()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        switches = usage.ru_nvcsw + usage.ru_nivcsw
        os.write(writer, _MARKS.pack(called, met, passed, repeated, left, time.process_time(), switches, pss_bytes))
        os._exit(0)
    finally:
        os._exit(1)


def _serve(server: StoreServer, readers: list[int]) -> list[Marks]:
    """Be a launcher's loop until all ranks have said what they noted. RuntimeError if one does not."""
    poll = select.epoll()
    for fd in (server.fileno(), *readers):
        poll.register(fd, select.EPOLLIN)
    marks, until = [], time.monotonic() + DEADLINE_S
    while len(marks) < len(readers) and time.monotonic() < until:
        for fd, _ in poll.poll(until - time.monotonic()):
            if fd == server.fileno():
                server.on_readable()
                continue
            data = os.read(fd, _MARKS.size)
            if len(data) < _MARKS.size:
                raise RuntimeError("a rank failed; see what it printed")
            poll.unregister(fd)
            os.close(fd)
            marks.append(Marks(*_MARKS.unpack(data)))
    poll.close()
    if len(marks) < len(readers):
        raise RuntimeError(f"{len(readers) - len(marks)} ranks did not end within {DEADLINE_S:g} s")
    return marks


def _pss_bytes() -> float:
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) * 1024.0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    size, repeats = (given + [64, 5][len(given) :])[:2]
    for _ in range(repeats):
        print(json.dumps({name: round(value, 2) for name, value in asdict(measure(size)).items()}))
