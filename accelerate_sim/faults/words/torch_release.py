"""Releases of torch: how they differ in the source lines and the order of what their NCCL watchdog prints.

Line numbers were read from public logs of each release; the few that no log shows keep their distance to a neighbour
in another release. A release without a log of its own uses the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


def release(version: str) -> tuple[int, int]:
    """(major, minor) of a version such as 2.13.0+cu130."""
    major, minor, *_ = version.split("+")[0].split(".")
    return int(major), int(minor)


@dataclass(frozen=True, kw_only=True)
class WatchdogLines:
    """Lines of ProcessGroupNCCL.cpp that log; 0 where the release has no such message."""

    async_error: int
    timeout: int
    raised: int
    failure: int
    timeout_at: int = 0
    trace: int = 0
    no_trace: int = 0
    first_to_dump: int = 0
    dump_signal: int = 0
    observed: int = 0
    preparing: int = 0
    failed: int
    taking_down: int
    terminated: int
    rethrown: int
    fatal: int = 0

    work_prefix: str = "[PG ID {id} PG GUID {uid}{desc} Rank {rank}]"
    wait_s: float = 0.0
    """Seconds that a rank waits for the flight recorder before it takes the process down."""

    records: bool = False
    """True if the flight recorder is on by default, so that the failed collective has a stack trace."""

    runs_in_watchdog_class: bool = True
    """True if the watchdog is a class of its own, which changes the frames of its exceptions."""

    only_active: bool = False
    """True if the dump line says whether it holds active collectives only."""


BY_RELEASE: Final = {
    (2, 4): WatchdogLines(
        async_error=0, timeout=607, raised=609, failure=1664, timeout_at=1709, failed=621, taking_down=627,
        terminated=1515, rethrown=1521, work_prefix="[PG {id} {desc}Rank {rank}]", runs_in_watchdog_class=False,
    ),
    (2, 5): WatchdogLines(
        async_error=542, timeout=616, raised=618, failure=1785, timeout_at=1834, failed=630, taking_down=636,
        terminated=1595, rethrown=1601, runs_in_watchdog_class=False,
    ),
    (2, 6): WatchdogLines(
        async_error=552, timeout=629, raised=632, failure=2168, no_trace=667, failed=681, taking_down=695,
        terminated=1895, rethrown=1901, fatal=1306, runs_in_watchdog_class=False,
    ),
    (2, 7): WatchdogLines(
        async_error=555, timeout=632, raised=635, failure=2271, no_trace=670, first_to_dump=2106, dump_signal=1746,
        observed=1682, preparing=1536, failed=684, taking_down=698, terminated=1899, rethrown=1905, wait_s=0.9,
        runs_in_watchdog_class=False,
    ),
    (2, 9): WatchdogLines(
        async_error=600, timeout=683, raised=686, failure=2241, no_trace=730, trace=727, first_to_dump=2573,
        dump_signal=1858, observed=1794, preparing=1575, failed=744, taking_down=758, terminated=2057, rethrown=2063,
        fatal=1600, wait_s=60.0, records=False,
    ),
    (2, 11): WatchdogLines(
        async_error=606, timeout=689, raised=692, failure=2317, trace=733, no_trace=736, first_to_dump=2652,
        dump_signal=1914, observed=1849, preparing=1628, failed=750, taking_down=764, terminated=2119, rethrown=2125,
        fatal=1653, wait_s=60.0, records=True, only_active=True,
    ),
    (2, 12): WatchdogLines(
        async_error=674, timeout=757, raised=760, failure=2395, trace=801, no_trace=804, first_to_dump=2732,
        dump_signal=1987, observed=1922, preparing=1700, failed=818, taking_down=832, terminated=2197, rethrown=2203,
        fatal=1725, wait_s=60.0, records=True, only_active=True,
    ),
}  # fmt: skip


def watchdog_lines(version: str) -> WatchdogLines:
    """The watchdog of a release, or of the latest one before it that is known."""
    wanted = release(version)
    known = [each for each in BY_RELEASE if each <= wanted]
    return BY_RELEASE[max(known, default=min(BY_RELEASE))]
