"""The table of hazards: the names that ``log.hazards`` takes, in the order in which a line passes them.

A new hazard is a class in a module of ``accelerate_sim.hazards`` and one line here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple


class HazardEntry(NamedTuple):
    """A hazard that ``log.hazards`` may name."""

    help: str
    made_by: str
    """Module and class, divided by a colon."""
    share: float
    """Share of the lines that it strikes, if none is given."""
    writes_files: bool = False
    """True if it needs an output directory."""


_HERE = "accelerate_sim.hazards."
HAZARDS: Mapping[str, HazardEntry] = {
    "nan": HazardEntry("losses are nan, inf or missing", _HERE + "figures:Nan", 0.05),
    "no-time": HazardEntry("times are taken off", _HERE + "clocks:NoTime", 1.0),
    "epoch-time": HazardEntry("times are seconds since 1970", _HERE + "clocks:EpochTime", 1.0),
    "rfc3339-time": HazardEntry("times are in RFC 3339 with nanoseconds", _HERE + "clocks:Rfc3339Time", 1.0),
    "glog-time": HazardEntry("lines begin as glog's and klog's do", _HERE + "clocks:GlogTime", 1.0),
    "clock-skew": HazardEntry("each node's clock is wrong by up to two minutes", _HERE + "clocks:ClockSkew", 1.0),
    "dst-jump": HazardEntry("local time falls back an hour in mid-run", _HERE + "clocks:DstJump", 1.0),
    "ansi": HazardEntry("colours, boxes and hyperlinks, also in pipes", _HERE + "colors:Ansi", 0.5),
    "rank-echo": HazardEntry(
        "the other ranks print the line, too, with figures that differ a little", _HERE + "echoes:RankEcho", 0.1
    ),
    "resume-rewind": HazardEntry(
        "up to 50 lines are repeated, as after a resume from an older step", _HERE + "echoes:ResumeRewind", 0.02
    ),
    "traceback": HazardEntry(
        "tracebacks between the lines: carets, chained, ExceptionGroup, prefixed, interleaved",
        _HERE + "tracebacks:Tracebacks", 0.03,
    ),
    "long-lines": HazardEntry(
        "lines of 8 to 256 KiB; with --output-dir also the log as CRI and as docker's json-file",
        _HERE + "long_lines:LongLines", 0.02,
    ),
    "carriage-return": HazardEntry("bars with carriage returns stand before lines", _HERE + "bars:CarriageReturn", 0.2),
    "mid-utf8": HazardEntry(
        "a write ends inside a character; stray bytes and NULs", _HERE + "writes:MidUtf8", 0.1
    ),
    "torn-lines": HazardEntry("the next line is written into the middle of a line", _HERE + "writes:TornLines", 0.05),
    "rotate": HazardEntry(
        "the log is in train.log, too, rotated every 10 MiB x SHARE by renaming or copytruncate",
        _HERE + "rotation:Rotate", 1.0, writes_files=True,
    ),
    "split-streams": HazardEntry(
        "lines go to standard error at once, those before them later", _HERE + "buffers:SplitStreams", 0.2
    ),
    "block-buffered": HazardEntry(
        "output comes in blocks of 8 KiB, and the last is lost when the process is killed",
        _HERE + "buffers:BlockBuffered", 1.0,
    ),
}  # fmt: skip
"""Hazards by their names; those of words stand before those of bytes, and buffers are last."""
MOST_NAMED = 100
"""Entries of a config's list."""


class HazardChoice(NamedTuple):
    """A hazard and its share of the lines."""

    name: str
    share: float


def hazard_choice(text: object) -> HazardChoice:
    """The hazard that ``NAME`` or ``NAME:SHARE`` names. ValueError, as ``reason; way out``, if there is none."""
    name, has_share, share = text.partition(":") if isinstance(text, str) else (repr(text)[:40], "", "")
    if name not in HAZARDS:
        close = get_close_matches(name.lower(), HAZARDS, n=1, cutoff=0.5)
        known = f"Known: {', '.join(HAZARDS)}"
        way_out = f"did you mean '{close[0]}'? {known}" if close else f"use one of {', '.join(HAZARDS)}"
        raise ValueError(f"has {name!r:.60}, which is no hazard; {way_out}")
    if not has_share:
        return HazardChoice(name, HAZARDS[name].share)
    try:
        number = float(share)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"has {text!r:.60}, whose share is no number from 0 to 1; write e.g. {name}:0.1")
    return HazardChoice(name, number)


def hazard_names(value: object) -> tuple[str, ...]:
    """The entries of ``log.hazards``. Raises ValueError, worded for a message about the key."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple) or len(entries) > MOST_NAMED:
        raise ValueError("is no list of hazards; write e.g. [torn-lines:0.1, nan]")
    for entry in entries:
        hazard_choice(entry)
    return tuple(entries)


def in_order(entries: Iterable[str]) -> list[HazardChoice]:
    """The named hazards in the order of the table; of one that is named twice, the last entry."""
    chosen = {choice.name: choice for choice in map(hazard_choice, entries)}
    return [chosen[name] for name in HAZARDS if name in chosen]
