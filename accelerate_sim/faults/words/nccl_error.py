"""Errors of NCCL as torch reports them on standard error, after the warnings of ``nccl``.

The watchdog of each rank that is in a collective prints them, and the main thread of a rank that calls the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from accelerate_sim.faults.words.cpp_log import CppFrame, frames_text
from accelerate_sim.faults.words.line import TimedLine
from accelerate_sim.faults.words.nccl_release import USUAL
from accelerate_sim.faults.words.python_traceback import ALL_REDUCE, TracebackFrame, traceback_of_rank
from accelerate_sim.faults.words.torch_release import release
from accelerate_sim.faults.words.watchdog import (
    FILE,
    Waiter,
    WatchedCollective,
    failure,
    place,
    taking_down,
    termination,
    watchdog_frames,
)


class NcclError(NamedTuple):
    """A result code of NCCL: its name, NCCL's text for it, and torch's explanation."""

    name: str
    text: str
    explanation: str


REMOTE = NcclError(
    "ncclRemoteError",
    "remote process exited or there was a network error",
    "A call failed possibly due to a network error or a remote process exiting prematurely.",
)
SYSTEM = NcclError(
    "ncclSystemError",
    "unhandled system error (run with NCCL_DEBUG=INFO for details)",
    "System call (e.g. socket, malloc) or external library call failed or device error.",
)
CUDA = NcclError(
    "ncclUnhandledCudaError",
    "unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
    "Call to CUDA function failed.",
)
USAGE = NcclError(
    "ncclInvalidUsage",
    "invalid usage (run with NCCL_DEBUG=WARN for details)",
    "This usually reflects invalid usage of NCCL library.",
)


def error_text(error: NcclError, last: str, version: str) -> str:
    """torch's description of an NCCL error; ``last`` is the text of NCCL's last warning."""
    return f"{error.text}, NCCL version {version}\n{error.name}: {error.explanation}\nLast error:\n{last}"


def async_error_sign(rank: int) -> str:
    """The expression by which the first line of ``async_error`` is known, for a peer that is gone."""
    return rf"\[rank{rank}\].* raised the following async exception: NCCL error: remote"


def async_error(
    waiter: Waiter,
    collective: WatchedCollective,
    error: NcclError,
    last: str,
    *,
    nccl: str = USUAL,
    after_s: float = 0.0,
) -> list[TimedLine]:
    """The lines of a rank whose collective fails as a peer or a link is gone, to its abort by SIGABRT.

    ``waiter.expired`` is the simulated time at which the peer or link fails. Releases since 2.9 wait for the flight
    recorder before they take the process down.
    """
    lines, draw = waiter.lines, waiter.draw.within("frames")
    noticed_s = after_s + waiter.noticed_s
    message = f"NCCL error: {error_text(error, last, nccl)}"
    check = CppFrame(
        "cuda", 0x220, "c10d::ProcessGroupNCCL::checkForNCCLErrorsInternal(std::shared_ptr<c10d::NCCLComm>&)"
    )
    work = CppFrame("cuda", 0x7C, "c10d::ProcessGroupNCCL::WorkNCCL::checkAndSetException()")
    # In the one release of which a log shows this line (2.5), it is 432 lines below the watchdog's last message.
    origin = place("checkForNCCLErrorsInternal", lines.terminated + 432, waiter.torch)
    origin += frames_text(watchdog_frames(waiter, check, work), draw)
    first = (
        f"[Rank {waiter.group.rank}] Collective {collective} raised the following async exception: {message}\n{origin}"
    )
    said = waiter.log.lines(noticed_s, "E", FILE, lines.async_error or 563, first)
    said += failure(waiter, collective.seq, noticed_s + 0.0002)
    said += taking_down(waiter, noticed_s + 0.001 + lines.wait_s)
    return said + termination(waiter, noticed_s + 0.0015 + lines.wait_s, message, origin)


def backend_error(error: NcclError, last: str, *, torch: str = "2.13", nccl: str = USUAL) -> str:
    """The exception of the main thread that calls a collective on a broken communicator."""
    file, line = next(place for since, place in CHECKS if release(torch) >= since)
    root = "/pytorch" if release(torch) >= (2, 6) else ".."
    where = f"{root}/torch/csrc/distributed/c10d/{file}:{line}"
    return f"torch.distributed.DistBackendError: NCCL error in: {where}, {error_text(error, last, nccl)}"


CHECKS: Final = (
    ((2, 9), ("NCCLUtils.cpp", 93)),
    ((2, 7), ("NCCLUtils.cpp", 77)),
    ((2, 0), ("NCCLUtils.hpp", 268)),
)
"""Places at which a release of torch, and those after it, check NCCL's results."""


def backend_error_of_rank(
    rank: int,
    error: NcclError,
    last: str,
    frames: Iterable[TracebackFrame] = ALL_REDUCE,
    *,
    torch: str = "2.13",
    nccl: str = USUAL,
    after_s: float = 0.0,
) -> list[TimedLine]:
    """The lines of a rank whose main thread meets an NCCL error; its exit code is 1."""
    return traceback_of_rank(rank, backend_error(error, last, torch=torch, nccl=nccl), frames, after_s=after_s)


def aborted(rank: int, reason: str = "") -> str:
    """The exception of a later call on a communicator that the watchdog has aborted."""
    why = f" Original reason for failure was: {reason}" if reason else ""
    return f"torch.distributed.DistBackendError: NCCL communicator was aborted on rank {rank}. {why}"
