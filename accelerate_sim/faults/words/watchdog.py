"""The lines of torch's NCCL watchdog when a collective does not end, by release of torch.

Time 0 is the moment at which the collective's timeout expires. All ranks that wait in it print ``waiting_rank``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from accelerate_sim.faults.words.cpp_log import THREAD, CppFrame, CppLog, frames_text, raised
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDERR, TimedLine, block
from accelerate_sim.faults.words.python_traceback import ALL_REDUCE, TracebackFrame
from accelerate_sim.faults.words.torch_release import WatchdogLines, release, watchdog_lines

FILE: Final = "ProcessGroupNCCL.cpp"
POLL_MS: Final = 100
"""Period at which the watchdog looks at its collectives."""
MONITOR_POLL_S: Final = 1.0
"""Period at which the monitor thread looks for a dump signal."""

NO_TRACE: Final = (
    "Stack trace of the failed collective not found, potentially because FlightRecorder is disabled. You can enable it "
    "by setting TORCH_NCCL_TRACE_BUFFER_SIZE to a non-zero value."
)
FAILED: Final = (
    "Some NCCL operations have failed or timed out. Due to the asynchronous nature of CUDA kernels, subsequent GPU "
    "operations might run on corrupted/incomplete data."
)
TAKING_DOWN: Final = "To avoid data inconsistency, we are taking the entire process down."
LIKELY: Final = (
    "This is most likely caused by incorrect usages of collectives, e.g., wrong sizes used across ranks, the order of "
    "collectives is not same for all ranks or the scheduled collective, for some reason, didn't run. "
    "Additionally, this "
    "can be caused by GIL deadlock or other reasons such as network errors or bugs in the communications library (e.g. "
    "NCCL), etc. "
)


@dataclass(frozen=True, kw_only=True)
class WatchedCollective:
    """A collective as torch names it."""

    seq: int
    op: str = "ALLREDUCE"
    numel_in: int = 1
    numel_out: int = 1
    timeout_ms: int = 600_000

    def __str__(self) -> str:
        return (
            f"WorkNCCL(SeqNum={self.seq}, OpType={self.op}, NumelIn={self.numel_in}, NumelOut={self.numel_out}, "
            f"Timeout(ms)={self.timeout_ms})"
        )


@dataclass(frozen=True, kw_only=True)
class WatchedGroup:
    """A process group, from the point of view of one of its ranks."""

    rank: int
    """Rank in the group."""

    id: int = 0
    uid: str = "0"
    desc: str = "default_pg"
    enqueued: int
    """Sequence number of the last collective that this rank has enqueued."""

    completed: int

    def prefix(self, lines: WatchdogLines) -> str:
        desc = f"({self.desc})" if self.desc else ""
        if "{uid}" not in lines.work_prefix:
            desc += " " if desc else ""
        return lines.work_prefix.format(id=self.id, uid=self.uid, desc=desc, rank=self.rank)


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """A rank whose watchdog logs."""

    rank: int
    """Rank in the world."""

    group: WatchedGroup
    default: WatchedGroup
    """The default process group; its monitor thread handles dumps."""

    expired: datetime
    """Simulated time at which the timeout expires."""

    draw: Draw
    torch: str = "2.13"

    @property
    def lines(self) -> WatchdogLines:
        return watchdog_lines(self.torch)

    @property
    def log(self) -> CppLog:
        return CppLog(self.rank, self.expired, self.draw)

    @property
    def noticed_s(self) -> float:
        """Seconds after the timeout at which the watchdog's poll sees it."""
        return self.draw.between("noticed", 0.0, POLL_MS / 1000)


def timeout_message(waiter: Waiter, collective: WatchedCollective) -> str:
    """The message of the timeout; every waiting rank has measured its own time, 0 to 100 ms over the limit."""
    ran_ms = collective.timeout_ms + int(waiter.noticed_s * 1000)
    return (
        f"[Rank {waiter.group.rank}] Watchdog caught collective operation timeout: {collective} ran for {ran_ms} "
        "milliseconds before timing out."
    )


def waiting_rank(
    waiter: Waiter, collective: WatchedCollective, frames: Sequence[TracebackFrame] = ALL_REDUCE
) -> list[TimedLine]:
    """The lines of a rank that waited until the timeout, to its abort by SIGABRT (exit code -6)."""
    log, lines, message = waiter.log, waiter.lines, timeout_message(waiter, collective)
    noticed_s = waiter.noticed_s
    said = log.lines(noticed_s, "E", FILE, lines.timeout, message)
    said += failure(waiter, collective.seq, noticed_s + 0.0001)
    said += _trace(waiter, noticed_s + 0.001, frames)
    dumped_s = noticed_s + 0.0011
    if lines.first_to_dump:
        prefix = waiter.group.prefix(lines)
        said += log.lines(
            dumped_s, "E", FILE, lines.first_to_dump, f"{prefix} First PG on this rank to signal dumping."
        )
        said += dump(
            waiter,
            dumped_s + waiter.draw.between("poll", 0.002, min(MONITOR_POLL_S, lines.wait_s / 2)),
            "this local rank",
        )
    said += taking_down(waiter, dumped_s + max(lines.wait_s, 0.0001))
    return said + termination(waiter, dumped_s + lines.wait_s + 0.0015, message, _check_timeout(waiter))


def failure(waiter: Waiter, seq: int, after_s: float) -> list[TimedLine]:
    """The line about the collective that failed and the rank's latest ones; two lines up to torch 2.5."""
    lines, log, group = waiter.lines, waiter.log, waiter.group
    prefix = group.prefix(lines)
    if not lines.timeout_at:
        text = (
            f"{prefix}  failure detected by watchdog at work sequence id: {seq} PG status: last enqueued work: "
            f"{group.enqueued}, last completed work: {group.completed}"
        )
        return log.lines(after_s, "E", FILE, lines.failure, text)
    state = f"last enqueued NCCL work: {group.enqueued}, last completed NCCL work: {group.completed}."
    first = f"{prefix} Exception (either an error or timeout) detected by watchdog at work: {seq}, {state}"
    second = f"{prefix} Timeout at NCCL work: {seq}, {state}"
    return [
        *log.lines(after_s, "E", FILE, lines.failure, first),
        *log.lines(after_s + 0.00003, "E", FILE, lines.timeout_at, second),
    ]


def taking_down(waiter: Waiter, after_s: float) -> list[TimedLine]:
    """The two lines before a watchdog ends its process."""
    lines, log = waiter.lines, waiter.log
    head = f"[Rank {waiter.group.rank}] "
    return [
        *log.lines(after_s, "E", FILE, lines.failed, head + FAILED),
        *log.lines(after_s + 0.00002, "E", FILE, lines.taking_down, head + TAKING_DOWN),
    ]


def termination(waiter: Waiter, after_s: float, message: str, origin: str) -> list[TimedLine]:
    """The end of a watchdog thread: the exception in the log, then again from the C++ runtime, without a prefix.

    ``origin`` is the text with the place and the frames at which the exception was first raised.
    """
    lines, draw = waiter.lines, waiter.draw.within("frames")
    text = f"{waiter.group.prefix(lines)} Process group watchdog thread terminated with exception: {message}\n{origin}"
    function = "run" if lines.runs_in_watchdog_class else "ncclCommWatchdog"
    calls = raised(waiter.torch, CppFrame("cuda", 0x6915EB), *THREAD)
    again = f"{place(function, lines.rethrown, waiter.torch)}{frames_text(calls, draw)}"
    said = waiter.log.lines(after_s, "E", FILE, lines.terminated, text)
    said += block(after_s + 0.0002, STDERR, "terminate called after throwing an instance of 'c10::DistBackendError'")
    return said + block(after_s + 0.0003, STDERR, f"  what():  {text}\n{again}")


def place(function: str, line: int, torch: str) -> str:
    """The line above the frames: the function and the source line that raised an exception."""
    root = "/pytorch" if release(torch) >= (2, 6) else ".."
    where = f"{root}/torch/csrc/distributed/c10d/{FILE}:{line}"
    return f"Exception raised from {function} at {where} (most recent call first):\n"


def watchdog_frames(waiter: Waiter, *calls: CppFrame) -> tuple[CppFrame, ...]:
    """The frames of an exception in a watchdog thread: these calls, then the loop that made them."""
    loop = (
        CppFrame("cuda", 0x14F1, "c10d::ProcessGroupNCCL::Watchdog::runLoop()"),
        CppFrame("cuda", 0x157, "c10d::ProcessGroupNCCL::Watchdog::run()"),
    )
    if not waiter.lines.runs_in_watchdog_class:
        loop = (
            CppFrame("cuda", 0x890, "c10d::ProcessGroupNCCL::watchdogHandler()"),
            CppFrame("cuda", 0x14D, "c10d::ProcessGroupNCCL::ncclCommWatchdog()"),
        )
    return raised(waiter.torch, *calls, *loop, *THREAD)


def _check_timeout(waiter: Waiter) -> str:
    optional = "std::optional<std::chrono::duration<long, std::ratio<1l, 1000l> > >"
    check = CppFrame("cuda", 0x2B1, f"c10d::ProcessGroupNCCL::WorkNCCL::checkTimeout({optional})")
    text = place("checkTimeout", waiter.lines.raised, waiter.torch)
    return text + frames_text(watchdog_frames(waiter, check), waiter.draw.within("frames"))


def _trace(waiter: Waiter, after_s: float, frames: Sequence[TracebackFrame]) -> list[TimedLine]:
    """The Python stack of the late collective if the flight recorder is on, else the line about its being off."""
    lines, log = waiter.lines, waiter.log
    if lines.records:
        stack = "".join(
            f"#{k} {frame.function} from {frame.file}:{frame.line}\n" for k, frame in enumerate(reversed(frames))
        )
        return log.lines(after_s, "E", FILE, lines.trace, f"Stack trace of the failed collective: \n{stack}")
    return log.lines(after_s, "E", FILE, lines.no_trace, NO_TRACE) if lines.no_trace else []


def dump(waiter: Waiter, after_s: float, source: str) -> list[TimedLine]:
    """The two lines of the monitor thread that has a dump signal from ``source``."""
    lines, log, group = waiter.lines, waiter.log, waiter.default
    prefix = group.prefix(lines)
    text = (
        f"{prefix} Received a dump signal due to a collective timeout from {source} and we will try our best "
        "to dump the "
        f"debug info. Last enqueued NCCL work: {group.enqueued}, last completed NCCL work: {group.completed}.{LIKELY}"
    )
    active = ", only active collectives: 0" if lines.only_active else ""
    preparing = f"{prefix} ProcessGroupNCCL preparing to dump debug info. Include stack trace: 1{active}"
    return [
        *log.lines(after_s, "E", FILE, lines.dump_signal, text),
        *log.lines(after_s + 0.0003, "E", FILE, lines.preparing, preparing),
    ]
