"""Hazards of times: lines without them, other forms, and clocks that are wrong.

Each finds the first date and time of a line, whatever the voice's form is, and writes another in its place. A count of
milliseconds since 1970, as mlperf-logging's, is no time of day: a wrong clock alone changes it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from accelerate_sim.hazards.hazard import Hazard, Passage

GLOG = r"(?<=^[IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6}"
"""Month, day and time after the level, as glog, absl and klog write them."""
STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?|" + GLOG)
STAMP_OR_COUNT = re.compile(rf'(?<="time_ms": )\d+|{STAMP.pattern}')
SKEW_S = 120.0
HOUR = timedelta(hours=1)


class _Clock(Hazard):
    """Replaces the first time of a line."""

    times = STAMP
    """Expression of the times that it replaces."""

    def alter(self, passage: Passage) -> None:
        found = self.times.search(passage.text)
        if not found or not self.strikes(passage.line.number):
            return
        self.change(passage, found)

    def change(self, passage: Passage, found: re.Match[str]) -> None:
        """Put another time in the place of the one that was found."""
        stamp = self.stamp(passage, found[0])
        if stamp != found[0]:
            passage.text = passage.text[: found.start()] + stamp + passage.text[found.end() :]
            self.note(passage, f"{found[0]} became {stamp}")

    def stamp(self, passage: Passage, text: str) -> str:
        """The time in place of ``text``."""
        raise NotImplementedError


class NoTime(_Clock):
    """Takes the time off, and brackets and blanks around it."""

    def change(self, passage: Passage, found: re.Match[str]) -> None:
        self.note(passage, f"{self._take_off(passage, found)} is gone")

    def _take_off(self, passage: Passage, found: re.Match[str]) -> str:
        """Take the time off. Returns the part that is gone."""
        text, begin, end = passage.text, found.start(), found.end()
        if text[:begin].endswith("[") and text[end:].startswith("]"):
            begin, end = begin - 1, end + 1
        end += text[end:].startswith(" ") and not text[:begin][-1:].isalpha()  # a level stays apart from the rest
        passage.text = text[:begin] + text[end:]
        return text[begin:end]


class EpochTime(_Clock):
    """Seconds since 1970 with milliseconds."""

    def stamp(self, passage: Passage, text: str) -> str:
        return f"{passage.line.time.timestamp():.3f}"


class Rfc3339Time(_Clock):
    """RFC 3339 in UTC with nine decimals, as containerd writes it."""

    def stamp(self, passage: Passage, text: str) -> str:
        return f"{passage.line.time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"


class GlogTime(NoTime):
    """A prefix of glog in place of the time: level, month and day, microseconds, process and source."""

    def change(self, passage: Passage, found: re.Match[str]) -> None:
        if _is_glog(found[0]):
            return
        gone, rest = self._take_off(passage, found), passage.text
        level = "W" if "WARN" in rest else "E" if "ERROR" in rest else "I"
        prefix = f"{level}{passage.line.time:%m%d %H:%M:%S.%f} {1000 + passage.line.rank:7d} trainer.cc:212] "
        passage.text = prefix + rest
        self.note(passage, f"{gone} is gone, and {prefix}stands before the line")


class ClockSkew(_Clock):
    """Each node's clock is wrong by a constant."""

    times = STAMP_OR_COUNT

    def stamp(self, passage: Passage, text: str) -> str:
        node = passage.line.rank // max(self.process.gpus_per_node, 1)
        skew_s = (2.0 * self.draw(-1 - node, "node") - 1.0) * SKEW_S
        return _moved(text, timedelta(seconds=round(skew_s, 3)), passage.line.time.year)


class DstJump(_Clock):
    """From a line on that the seed draws, local time is an hour back."""

    def stamp(self, passage: Passage, text: str) -> str:
        first = 20 + int(self.draw(-1, "first") * 40)
        return _moved(text, -HOUR, passage.line.time.year) if passage.line.number >= first else text


def _is_glog(text: str) -> bool:
    return text[4] == " "


def _moved(text: str, by: timedelta, year: int) -> str:
    """A time of the same form that is ``by`` later; ``year`` is that of a form without one."""
    if text.isdigit():
        return str(int(text) + round(by.total_seconds() * 1000))
    if _is_glog(text):
        return f"{datetime.strptime(f'{year}{text}', '%Y%m%d %H:%M:%S.%f') + by:%m%d %H:%M:%S.%f}"
    date, fraction, zone = text[:19], *_end_of(text[19:])
    separator = text[10]
    value = datetime.fromisoformat(date.replace("T", " ")) + by
    if fraction:
        digits = len(fraction) - 1
        value += timedelta(seconds=int(fraction[1:]) / 10**digits)
        micros = f"{value.microsecond:06d}".ljust(digits, "0")[:digits]
        return f"{value:%Y-%m-%d}{separator}{value:%H:%M:%S}{fraction[0]}{micros}{zone}"
    return f"{value:%Y-%m-%d}{separator}{value:%H:%M:%S}{zone}"


def _end_of(text: str) -> tuple[str, str]:
    """(fraction with its sign, zone) of a time after its seconds."""
    found = re.match(r"[.,]\d+", text)
    return (found[0], text[found.end() :]) if found else ("", text)
