"""Releases of NCCL: the source lines that warn about the network, and how their texts differ. Read in the sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from accelerate_sim.faults.words.torch_release import release

Place = tuple[str, int]
"""A source file, as NCCL prints it, and a line."""

USUAL: Final = "2.29.7"
"""Release of NCCL where none is named."""

IB: Final = "transport/net_ib.cc"
SOCKET: Final = "misc/socket.cc"

EVENT_OLD, EVENT_ERROR, EVENT_NON_FATAL = (
    "Got async event : {}",
    "Got async error event: {}",
    "Got non-fatal async event: {}({})",
)


@dataclass(frozen=True, kw_only=True)
class WarningPlaces:
    """Places of one release that warn."""

    closed: Place
    call_failed: Place
    completion: Place
    event: Place
    completion_event: Place | None = None
    """Place of a line of its own about the queue's event, before the line about the completion."""

    mismatch: Place | None = None
    """Place of the warning about ranks with different versions; releases before 2.23 have none."""

    event_text: str = EVENT_NON_FATAL
    names_status: bool = True
    """True if a completion's status and opcode are printed by name."""

    names_request_size: bool = False
    has_adapter: bool = True
    """True if a completion's line ends with the name of the adapter."""

    names_direction: bool = True
    """True if a failed call may be a send; older releases print ``recv`` for both."""

    call: str = "socketProgressOpt"
    has_time: bool = True
    """True if a warning begins with the time."""

    has_function: bool = False
    """True if a warning names the function."""


BY_RELEASE: Final = {
    (2, 21): WarningPlaces(
        closed=(SOCKET, 50), call_failed=(SOCKET, 30), completion=(IB, 1909), event=(IB, 101),
        event_text=EVENT_OLD, names_status=False, has_adapter=False, names_direction=False, has_time=False,
    ),
    (2, 22): WarningPlaces(
        closed=(SOCKET, 50), call_failed=(SOCKET, 30), completion=(IB, 1984), event=(IB, 103),
        event_text=EVENT_OLD, names_status=False, names_direction=False, has_time=False,
    ),
    (2, 23): WarningPlaces(
        closed=(SOCKET, 50), call_failed=(SOCKET, 30), completion=(IB, 2121), event=(IB, 171),
        mismatch=("init.cc", 775),
        event_text=EVENT_ERROR, names_status=False, names_direction=False, has_time=False,
    ),
    (2, 24): WarningPlaces(
        closed=(SOCKET, 71), call_failed=(SOCKET, 46), completion=(IB, 2244), event=(IB, 173),
        mismatch=("init.cc", 769),
        event_text=EVENT_ERROR, names_status=False, has_time=False,
    ),
    (2, 25): WarningPlaces(
        closed=(SOCKET, 71), call_failed=(SOCKET, 46), completion=(IB, 2244), event=(IB, 173),
        mismatch=("init.cc", 712),
        event_text=EVENT_ERROR, names_status=False, has_time=False,
    ),
    (2, 26): WarningPlaces(
        closed=(SOCKET, 71), call_failed=(SOCKET, 46), completion=(IB, 2358), event=(IB, 179),
        mismatch=("init.cc", 714),
        event_text=EVENT_ERROR, names_status=False,
    ),
    (2, 27): WarningPlaces(
        closed=(SOCKET, 71), call_failed=(SOCKET, 46), completion=(IB, 2458), event=(IB, 199),
        mismatch=("init.cc", 729),
        event_text=EVENT_ERROR, names_status=False,
    ),
    (2, 28): WarningPlaces(
        closed=(SOCKET, 71), call_failed=(SOCKET, 46), completion=(IB, 2543), event=(IB, 253),
        mismatch=("init.cc", 896),
        names_request_size=True,
    ),
    (2, 29): WarningPlaces(
        closed=(SOCKET, 35), call_failed=("os/linux.cc", 289), completion=("transport/net_ib/p2p.cc", 651),
        completion_event=("transport/net_ib/p2p.cc", 786), event=("transport/net_ib/common.cc", 134),
        mismatch=("init.cc", 966), call="ncclOsSocketProgressOpt",
    ),
    (2, 30): WarningPlaces(
        closed=(SOCKET, 58), call_failed=("os/linux.cc", 362), completion=("transport/net_ib/p2p.cc", 688),
        completion_event=("transport/net_ib/p2p.cc", 854), event=("transport/net_ib/common.cc", 179),
        mismatch=("init.cc", 1043), call="ncclOsSocketProgressOpt", has_function=True,
    ),
}  # fmt: skip


def warning_places(version: str) -> WarningPlaces:
    """The places of a release such as ``2.27.7``, or of the latest known one before it."""
    wanted = release(version)
    known = [each for each in BY_RELEASE if each <= wanted]
    return BY_RELEASE[max(known, default=min(BY_RELEASE))]
