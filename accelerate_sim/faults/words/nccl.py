"""NCCL's warnings about peers, links and versions, on standard output with ``NCCL_DEBUG=WARN`` or more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDOUT, TimedLine
from accelerate_sim.faults.words.nccl_release import EVENT_NON_FATAL, USUAL, Place, warning_places

PORT_EVENTS: Final = {"port error": 10, "port active": 9}
RETRY_EXCEEDED, FLUSHED = 12, 5
STATUS_NAMES: Final = {12: "IBV_WC_RETRY_EXC_ERR", 5: "IBV_WC_WR_FLUSH_ERR", 4: "IBV_WC_LOC_PROT_ERR"}
VENDOR_ERRORS: Final = {12: 129, 5: 249, 4: 81}


@dataclass(frozen=True, kw_only=True)
class NcclProcess:
    """A process whose NCCL warns."""

    host: str
    pid: int
    thread: int
    """Id of the thread; warnings about the network come from the proxy's thread."""

    device: int
    start: datetime
    """Simulated time at which ``after_s`` is 0."""

    version: str = USUAL


def warning(process: NcclProcess, where: Place, text: str, function: str = "", after_s: float = 0.0) -> list[TimedLine]:
    """A warning: an empty line, then the line."""
    places = warning_places(process.version)
    time = process.start + timedelta(seconds=after_s)
    stamp = f"[{time:%Y-%m-%d %H:%M:%S}] " if places.has_time else ""
    caller = f" ({function})" if places.has_function and function else ""
    head = f"{stamp}{process.host}:{process.pid}:{process.thread} [{process.device}] {where[0]}:{where[1]}{caller}"
    return [TimedLine(after_s, STDOUT, ""), TimedLine(after_s, STDOUT, f"{head} NCCL WARN {text}")]


def closed_text(peer: str, port: int) -> str:
    """The text about a peer whose socket is closed; the peer is named by host."""
    return f"socketProgress: Connection closed by remote peer {peer}<{port}>"


def connection_closed(process: NcclProcess, peer: str, port: int) -> list[TimedLine]:
    """The warning about a peer that has exited: its socket is closed, seconds after the exit at the most."""
    return warning(process, warning_places(process.version).closed, closed_text(peer, port), "socketProgress")


def call_failed_text(ip: str, port: int, version: str, reason: str, sends: bool = False) -> str:
    """The text about a socket call that failed."""
    places = warning_places(version)
    call = "send to" if sends and places.names_direction else "recv from"
    return f"{places.call}: Call to {call} {ip}<{port}> failed : {reason}"


def connection_reset(
    process: NcclProcess, ip: str, port: int, reason: str = "Connection reset by peer", *, sends: bool = False
) -> list[TimedLine]:
    """The warning about a socket that the peer's host has reset, or whose pipe is broken."""
    places = warning_places(process.version)
    return warning(process, places.call_failed, call_failed_text(ip, port, process.version, reason, sends), places.call)


def retries_s(timeout: int = 20, count: int = 7) -> float:
    """Seconds until an InfiniBand queue gives up: 4.096 us x 2^NCCL_IB_TIMEOUT, NCCL_IB_RETRY_CNT times."""
    return 4.096e-6 * 2.0**timeout * count


def completion_text(
    ip: str, port: int, adapter: str, draw: Draw, version: str, *, status: int = RETRY_EXCEEDED, sends: bool = False
) -> str:
    """The text about a work request that ended with an error, on InfiniBand (GIDs are printed for RoCE only)."""
    places = warning_places(version)
    vendor = VENDOR_ERRORS[status]
    peer = f"Got completion from peer {ip}<{port}> with"
    # The opcode of a failed completion is not defined; mlx5 leaves 0 for sends and what was there for receives.
    if not places.names_status:
        end = f" hca {adapter}" if places.has_adapter else ""
        head = "NET/IB:" if places.has_adapter else "NET/IB :"
        direction = "Send" if sends else "Recv"
        return f"{head} {peer} status={status} opcode=0 len=0 vendor err {vendor} ({direction}){end}"
    named = f"status={STATUS_NAMES[status]}({status}) opcode=IBV_WC_SEND(0)"
    if places.names_request_size:
        size = (1 + draw.below("size", 64)) * 8192 if sends else 0
        request = f"reqSize={size} vendor_err={vendor} req_type={'Send' if sends else 'Recv'}"
        return f"NET/IB: {peer} {named} {request} hca {adapter}"
    return f"NET/IB: {peer} {named} vendor_err={vendor}  hca {adapter}"


def retries_exceeded(
    process: NcclProcess, ip: str, port: int, adapter: str, draw: Draw, *, sends: bool = True, flushed: int = 1
) -> list[TimedLine]:
    """The warnings about a link or peer that no longer answers, and about the requests flushed after it.

    Time 0 is the moment at which the link fails; the first warning comes after all retries.
    """
    places, version = warning_places(process.version), process.version
    said: list[TimedLine] = []
    for number in range(1 + flushed):
        after_s = retries_s() + 0.00002 * number
        status = FLUSHED if number else RETRY_EXCEEDED
        if places.completion_event:
            said += warning(
                process,
                places.completion_event,
                _event_text(draw.within(number), version, sends),
                "ncclIbTest",
                after_s,
            )
        text = completion_text(ip, port, adapter, draw.within(number), version, status=status, sends=sends)
        said += warning(process, places.completion, text, "ncclIbLogCompletionWithError", after_s)
    return said


def _event_text(draw: Draw, version: str, sends: bool) -> str:
    request, comm = (0x7F0000000000 | draw.bits(name, 36) << 4 for name in ("request", "comm"))
    caller = "" if warning_places(version).has_function else " ncclIbTest:"
    return (
        f"NET/IB:{caller} Got CQE with error (devIndex=0, req=0x{request:x}, comm=0x{comm:x} "
        f"({'send' if sends else 'recv'}), wr_id={draw.below('id', 256)}, qp_num={200 + draw.below('queue', 8000)})"
    )


def port_event(process: NcclProcess, adapter: str, event: str = "port error", *, port: int = 1) -> list[TimedLine]:
    """The warning of each process of a node about a port that went down (``port error``) or up (``port active``)."""
    places = warning_places(process.version)
    numbered = (event, PORT_EVENTS[event]) if places.event_text == EVENT_NON_FATAL else (event,)
    text = f"NET/IB : {adapter}:{port} {places.event_text.format(*numbered)}"
    return warning(process, places.event, text, "ncclIbAsyncThreadMain")


def mismatch_text(rank: int, version: int, other: int, other_version: int) -> str:
    """The text about two ranks with different NCCLs; versions as NCCL numbers them, 22707 for 2.27.7."""
    return f"Mismatched NCCL version detected : rank {rank} version {version} rank {other} version {other_version}"


def version_mismatch(process: NcclProcess, rank: int, version: int, other: int, other_version: int) -> list[TimedLine]:
    """The warning of rank ``other`` about a rank whose NCCL is not its own."""
    text = mismatch_text(rank, version, other, other_version)
    where = warning_places(process.version).mismatch
    return warning(process, where, text, "initTransportsRank") if where else []
