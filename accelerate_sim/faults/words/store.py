"""The lines of ranks whose TCPStore is gone or cannot be reached, by release of torch.

Texts and the lines of torch 2.13 come from its CPU build; older lines from public logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from accelerate_sim.faults.words.cpp_log import THREAD, CppFrame, CppLog, frames_text, raised, string_type
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import TimedLine
from accelerate_sim.faults.words.torch_release import release, watchdog_lines

CLOSED: Final = "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?"
CLOSED_BEFORE_2_8: Final = "failed to recv, got 0 bytes"
RESET: Final = "Connection reset by peer"
BROKEN: Final = "Broken pipe"
POLL_S: Final = 1.0
"""Period at which a rank's monitor thread asks the store."""

_UTILS: Final = {(2, 13): (787, 758), (2, 9): (682, 653), (2, 7): (678, 653), (2, 4): (672, 653)}
"""Lines of Utils.hpp that raise for a closed connection and for a failed send."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A rank that is a client of the store."""

    rank: int
    host: str
    port: int
    """Port of the store."""

    start: datetime
    """Simulated time at which the store goes away."""

    draw: Draw
    torch: str = "2.13"

    @property
    def log(self) -> CppLog:
        return CppLog(self.rank, self.start, self.draw)

    @property
    def socket(self) -> str:
        descriptor, port = 60 + self.draw.below("descriptor", 60), 32768 + self.draw.below("port", 28000)
        return f"SocketImpl(fd={descriptor}, addr=[{self.host}]:{port}, remote=[{self.host}]:{self.port})"


def gone(client: Client, reason: str = CLOSED, *, seconds: int = 3) -> list[TimedLine]:
    """The lines of a rank after the store's host has died: one failed receive, then a failed send every second.

    The monitor thread gives up only when its process ends; ``seconds`` says how many of its tries are wanted.
    """
    heard_s = client.draw.between("heard", 0.05, POLL_S)
    lines = watchdog_lines(client.torch)
    said: list[TimedLine] = []
    for second in range(seconds):
        why = reason if not second else BROKEN
        said += _failed(client, heard_s + second * POLL_S, why)
        text = (
            f'[PG ID 0 PG GUID 0 Rank {client.rank}] Failed to check the "should dump" flag on TCPStore, (maybe '
            "TCPStore "
            f"server has shut down too early), with error: {why}"
        )
        # In logs of 2.9 this line is 23 above the one about another rank's dump signal.
        line = (lines.observed or 1284) - 23
        said += client.log.lines(heard_s + second * POLL_S + 0.004, "W", "ProcessGroupNCCL.cpp", line, text)
    return said


def _failed(client: Client, after_s: float, why: str) -> list[TimedLine]:
    receives = why != BROKEN
    if why == CLOSED and release(client.torch) < (2, 8):
        why = CLOSED_BEFORE_2_8
    closed_line, send_line = next(lines for since, lines in _UTILS.items() if release(client.torch) >= since)
    # A reset is raised three lines above a closed connection.
    line = send_line if not receives else closed_line - (3 if why == RESET else 0)
    call, function, at = ("recvValue", "recvBytes", 125) if receives else ("sendBytes", "sendBytes", 106)
    where = f"/pytorch/torch/csrc/distributed/c10d/Utils.hpp:{line} (most recent call first)"
    text = f"[c10d] {call} failed on {client.socket}: {why}\nException raised from {function} at {where}:\n"
    return client.log.lines(after_s, "W", "TCPStore.cpp", at, text + frames_text(_frames(client), client.draw))


def _frames(client: Client) -> tuple[CppFrame, ...]:
    string = string_type(client.torch)
    check = f"c10d::TCPStore::check(std::vector<{string}, std::allocator<{string} > > const&)"
    monitor = "c10d::ProcessGroupNCCL::HeartbeatMonitor::runLoop()"
    if release(client.torch) < (2, 8):
        monitor = "c10d::ProcessGroupNCCL::heartbeatMonitor()"
    calls = (CppFrame("cpu", 0x5FFC5D1), CppFrame("cpu", 0x35D, check), CppFrame("cuda", 0x33D, monitor))
    return raised(client.torch, *calls, *THREAD)


def unreachable(client: Client, timeout_ms: int, *, tries: int = 2) -> list[TimedLine]:
    """The lines of a rank that cannot connect to the store: two a try, of which the last is an error."""
    said: list[TimedLine] = []
    name = f"host {client.host}:{client.port}"
    why = connect_timeout(client.host, client.port, timeout_ms)
    for number in range(tries):
        after_s = (number + 1) * timeout_ms / 1000
        said += client.log.lines(after_s, "E", "socket.cpp", 1028, f"[c10d] {why}")
        delay_ms = 1000 + client.draw.below(("delay", number), 1000)
        level, line, how = "W", 340, f"retrying (try={number}, timeout={timeout_ms}ms, delay={delay_ms}ms)"
        if number == tries - 1:
            level, line, how = "E", 328, f"timed out (try={number}, timeout={timeout_ms}ms)"
        text = f"[c10d] TCP client failed to connect/validate to {name} - {how}: {why}"
        said += client.log.lines(after_s + 0.0002, level, "TCPStore.cpp", line, text)
    return said


def unknown_host(client: Client, after_s: float = 0.0) -> list[TimedLine]:
    """The line of a rank for which the name of the store's host does not resolve."""
    where = f"({client.host}, {client.port})"
    why = "cannot be retrieved (gai error: -2 - Name or service not known)."
    return client.log.lines(after_s, "W", "socket.cpp", 764, f"[c10d] The IPv6 network addresses of {where} {why}")


def connect_timeout(host: str, port: int, timeout_ms: int) -> str:
    """The message of ``torch.distributed.DistNetworkError`` when the store does not answer."""
    return f"The client socket has timed out after {timeout_ms}ms while trying to connect to ({host}, {port})."


def clients_missing(timeout_s: int, joined: int, expected: int) -> str:
    """The exception of rank 0 when other ranks do not come, as their node lacks something or is down."""
    return (
        f"torch.distributed.DistStoreError: Timed out after {timeout_s} seconds waiting for clients. "
        f"{joined}/{expected} clients joined."
    )
