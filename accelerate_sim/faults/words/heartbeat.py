"""The lines of torch's heartbeat monitor: it passes on dump signals, and ends a process whose watchdog is stuck."""

from __future__ import annotations

from typing import Final

from accelerate_sim.faults.words.line import TimedLine
from accelerate_sim.faults.words.watchdog import FILE, MONITOR_POLL_S, Waiter, dump

HEARTBEAT_S: Final = 480.0
"""Seconds after which the monitor thread ends a process whose watchdog is stuck."""


def absent_rank(waiter: Waiter, first_rank: int, *, holds_gil: bool = False) -> list[TimedLine]:
    """The lines of a rank that never came, while its monitor thread runs: it reads of the timeout in the store.

    Its last enqueued and last completed collective are the same. It is killed by the monitor after ``HEARTBEAT_S``.
    Releases before 2.7 do not dump by default, so that there the rank prints nothing.
    """
    lines, log, group = waiter.lines, waiter.log, waiter.default
    if not lines.observed:
        return []
    heard_s = waiter.draw.between("heard", 0.1, 0.1 + MONITOR_POLL_S)
    observed = "Observed flight recorder dump signal from another rank via TCPStore."
    said = log.lines(heard_s, "E", FILE, lines.observed, f"{group.prefix(lines)} {observed}")
    said += dump(waiter, heard_s + 0.0002, f" rank {first_rank}")
    if holds_gil:
        text = f"{group.prefix(lines)} Could not acquire GIL within 300 ms on exit, possible GIL induced hang"
        said += log.lines(heard_s + 0.3, "E", FILE, lines.preparing + 12, text)
    return said + fatal(waiter, heard_s + HEARTBEAT_S, "collective timeout or exception")


def stuck_watchdog(waiter: Waiter) -> list[TimedLine]:
    """The lines of a rank whose watchdog makes no progress though no collective is late."""
    lines, log, group = waiter.lines, waiter.log, waiter.default
    text = (
        f"{group.prefix(lines)} ProcessGroupNCCL's watchdog got stuck for {HEARTBEAT_S:.0f} seconds without making "
        "progress in monitoring enqueued collectives. This typically indicates a NCCL/CUDA API (e.g., "
        "CudaEventDestroy) "
        "hang blocking the watchdog, and could be triggered by another thread holding the GIL inside a CUDA api (for "
        "example, CudaEventDestroy), or other deadlock-prone behaviors.If you suspect the watchdog is not actually "
        "stuck and a longer timeout would help, you can either increase the timeout (TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC) "
        "to a larger value or disable the heartbeat monitor (TORCH_NCCL_ENABLE_MONITORING=0).If either of "
        "aforementioned helps, feel free to file an issue to PyTorch about the short timeout or false positive abort; "
        "otherwise, please attempt to debug the hang. "
    )
    said = log.lines(HEARTBEAT_S, "E", FILE, lines.dump_signal + 24 if lines.dump_signal else 1282, text)
    return said + fatal(waiter, HEARTBEAT_S + 60.0, "ProcessGroupNCCL watchdog hang")


def fatal(waiter: Waiter, after_s: float, reason: str) -> list[TimedLine]:
    """The monitor's last line, its prefix printed twice, before it aborts the process."""
    lines, group = waiter.lines, waiter.default
    prefix = group.prefix(lines)
    text = f"Terminating the process after attempting to dump debug info, due to {reason}."
    return waiter.log.lines(after_s, "F", FILE, lines.fatal or 1306, f"{prefix} {prefix} {text}")
