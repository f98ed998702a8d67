"""Times in log lines and files have the digits and the zone that their readers expect."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from accelerate_sim.records import timestamps
from accelerate_sim.records.timestamps import asctime, rfc3339, to_microseconds, to_seconds

MOMENT = datetime(2026, 1, 31, 9, 30, 0, 7123)


def test_rfc_3339_is_in_utc_with_milliseconds() -> None:
    assert rfc3339(MOMENT.replace(tzinfo=UTC)) == "2026-01-31T09:30:00.007Z"
    assert rfc3339(MOMENT.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))) == "2026-01-31T04:00:00.007Z"


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert rfc3339(MOMENT.replace(hour=13)) == "2026-01-31T08:00:00.007Z"
    finally:
        monkeypatch.undo()
        time.tzset()
        timestamps._local_offset.cache_clear()


def test_times_of_loggers_have_no_zone() -> None:
    for moment in (MOMENT, MOMENT.replace(tzinfo=UTC)):
        assert asctime(moment) == "2026-01-31 09:30:00,007"
        assert to_seconds(moment) == "2026-01-31 09:30:00"
        assert to_microseconds(moment) == "2026-01-31 09:30:00.007123"
