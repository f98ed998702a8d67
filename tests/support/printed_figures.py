"""Figures of a run as they are printed, and the intervals that rounded and summed ones stand for."""

from __future__ import annotations

from tests.support.reading import Interval, Played


def rounded(value: float, digits: int) -> Interval:
    """All values that are printed as ``value`` at so many decimals."""
    return Interval(value - 0.5 * 10.0**-digits, value + 0.5 * 10.0**-digits)


def sum_of(intervals: list[Interval]) -> Interval:
    return Interval(sum(each.low for each in intervals), sum(each.high for each in intervals))


def validations(run: Played) -> list[tuple[str, str, str]]:
    """(loss, perplexity, seconds) as printed."""
    found = run.matches(r"Validation \| loss (\d+\.\d{4}) \| ppl ([\d.,]+) \| ([\d.]+) s \| .*")
    return [(each[1], each[2], each[3]) for each in found]


def checkpoints(run: Played) -> list[tuple[str, str, str]]:
    """(bytes, seconds, bytes/s) as printed."""
    found = run.matches(r"Checkpoint saved: \S+ \| ([\d.]+ [MGT]B) \| ([\d.]+) s \| ([\d.]+) GB/s")
    return [(each[1], each[2], each[3]) for each in found]
