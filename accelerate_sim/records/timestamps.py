"""Forms of a time in log lines and files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache


def rfc3339(time: datetime) -> str:
    """A time as RFC 3339 has it, in UTC and with milliseconds: ``2026-01-31T09:30:00.123Z``.

    A time without a zone is this machine's local time.
    """
    if time.tzinfo is not UTC:
        time = (
            time.astimezone(UTC) if time.tzinfo else (time - _local_offset(time.year, time.month, time.day, time.hour))
        )
    return time.isoformat(timespec="milliseconds")[:23] + "Z"


def asctime(time: datetime) -> str:
    """A time as Python's ``logging`` writes it by default: ``2026-01-31 09:30:00,123``."""
    text = time.isoformat(" ", "milliseconds")
    return f"{text[:19]},{text[20:23]}"


def to_seconds(time: datetime) -> str:
    """A time in whole seconds: ``2026-01-31 09:30:00``. ``strftime`` would take longer than the rest of a line."""
    return time.isoformat(" ", "seconds")[:19]


def to_microseconds(time: datetime) -> str:
    """A time in microseconds: ``2026-01-31 09:30:00.123456``."""
    return time.isoformat(" ", "microseconds")[:26]


@lru_cache(maxsize=64)
def _local_offset(year: int, month: int, day: int, hour: int) -> timedelta:
    """Local time minus UTC in an hour; asking the system for each line would take longer than to word it."""
    offset = datetime(year, month, day, hour).astimezone().utcoffset()
    assert offset is not None
    return offset
