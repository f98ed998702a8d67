"""Time-outs of stores: arguments, deadlines, and milliseconds as torch prints them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final

from fake_torch_dist.stores.keys_and_values import wrong_argument

LONGEST_WAIT_S: Final = 3600.0
"""The longest single wait, as poll, locks and sockets take limited time-outs; a longer wait is repeated."""
default_store_timeout: Final = timedelta(seconds=300)
"""torch's default."""


def as_timeout(call: str, timeout: object) -> timedelta:
    """``timeout`` as a timedelta; a float is seconds, as in torch. TypeError for anything else."""
    if isinstance(timeout, float):
        try:
            return timedelta(seconds=timeout)
        except (ValueError, OverflowError):  # NaN and the infinite
            wrong_argument(call, "timeout", timeout, "a number of seconds")
    if not isinstance(timeout, timedelta):
        wrong_argument(call, "timeout", timeout, "a datetime.timedelta")
    return timeout


def deadline_after(timeout: timedelta) -> float | None:
    """``time.monotonic()`` at which ``timeout`` has run out; None for a timeout of zero, which never does."""
    return time.monotonic() + timeout.total_seconds() if timeout else None


def milliseconds(timeout: timedelta) -> int:
    """Whole milliseconds, as torch prints them."""
    return timeout // timedelta(milliseconds=1)


def next_wait_s(deadline: float | None) -> float:
    """Seconds to wait before looking at the clock again: until ``deadline``, but no longer than LONGEST_WAIT_S."""
    if deadline is None:
        return LONGEST_WAIT_S
    return min(max(0.0, deadline - time.monotonic()), LONGEST_WAIT_S)
