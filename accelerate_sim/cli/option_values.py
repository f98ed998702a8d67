"""Parsers of the command line's option values, one for each kind: from the typed text to the value.

They raise ConfigError, so that every message about a value is worded here and not by the command-line library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from accelerate_sim.config.problems import ConfigError, Problem, shorten, shown

MOST = {"--seed": 2**63 - 1, "--runs": 10**9, "--max-steps": 10**9}
"""The largest numbers that the config accepts."""
FIRST_YEAR, LAST_YEAR = 1970, 2999
"""Years in which a run may begin: files count seconds from 1970, and Python's dates end with the year 9999."""
LISTINGS = ("models", "gpus", "datasets", "configs", "trackers", "voices", "hazards", "faults")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def refuse(option: str, text: str, reason: str, way_out: str) -> NoReturn:
    """Raise a ConfigError that names the option and what was typed after it, a number without quotes."""
    raise ConfigError([Problem(option, None, "", shorten(text) if _is_number(text) else shown(text), reason, way_out)])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def speed(option: str) -> Callable[[str], str]:
    """A parser of simulated seconds per real second, or ``max``; the text is returned as it is."""

    def parse(text: str) -> str:
        if text == "max":
            return text
        if not _is_number(text):
            refuse(option, text, "is neither a number nor 'max'", "Use e.g. 250.")
        if not 0 < float(text) < math.inf:
            refuse(
                option,
                text,
                "is not finite" if float(text) > 0 else "is not above 0",
                "For no waiting at all use 'max'.",
            )
        return text

    return parse


def whole(option: str, least: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` to the option's largest."""
    bounds = f"Use a whole number from {least} to {MOST[option]:,}."

    def parse(text: str) -> int:
        if not _is_number(text) or math.isnan(float(text)):
            refuse(option, text, "is not a number", bounds)
        number = int(text) if re.fullmatch(r"[+-]?\d{1,30}", text) else float(text)
        if not least <= number <= MOST[option]:
            refuse(option, text, f"is {'below' if number < least else 'above'} what there can be", bounds)
        if number != int(number):
            refuse(option, text, "is not a whole number", bounds)
        return int(number)

    return parse


def path(option: str) -> Callable[[str], Path]:
    """A parser of paths: an empty one, which would be the working directory, is refused."""

    def parse(text: str) -> Path:
        return Path(not_empty(option)(text))

    return parse


def not_empty(option: str) -> Callable[[str], str]:
    """A parser of any text but an empty one, which a shell makes of a variable that is not set."""

    def parse(text: str) -> str:
        if not text.strip():
            refuse(option, text, "is empty", "Is a shell variable not set? Name one, or leave the option out.")
        if "\0" in text:
            refuse(option, text, "holds a null character", "Use plain text.")
        return text

    return parse


def size(text: str) -> str:
    """Parse columns and rows of the recorded terminal."""
    if not re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", text):
        raise ConfigError([Problem("--record-size", None, "", shown(text), "is not COLUMNSxROWS like 120x40", "")])
    return text


def duration(text: str) -> float:
    """Parse a real time like ``1h30m``, in seconds."""
    seconds = seconds_of(text)
    if not seconds:
        refuse("--duration", text, "is not a time above 0", "Use e.g. 90s, 10m or 1h30m.")
    return seconds


def seconds_of(text: str) -> float:
    """Seconds of a time like ``1h30m``; 0 for a text that is none."""
    parts = re.fullmatch(r"(?:\d+(?:\.\d+)?[smhd]?)+", text) and re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    return sum(float(number) * _UNITS_S[unit or "s"] for number, unit in parts or [])


def fast_forward(text: str) -> str:
    """Parse the part that is played without waits: ``step=500`` or ``time=2h``, which becomes ``time=7200.0``."""
    name, _, value = text.partition("=")
    if name == "step" and re.fullmatch(r"\d{1,9}", value) and int(value):
        return text
    if name == "time" and (seconds := seconds_of(value)):
        return f"time={seconds}"
    refuse("--fast-forward", text, "is neither a step nor a time above 0", "Use e.g. step=500 or time=2h.")


def start_time(text: str) -> datetime:
    """Parse the start of the simulated clock."""
    way_out = f"Use one like 2026-01-31T09:30:00, from {FIRST_YEAR}-01-02 to {LAST_YEAR}-12-31."
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        refuse("--start-time", text, "is not a time", way_out)
    if not datetime(FIRST_YEAR, 1, 2) <= time.replace(tzinfo=None) < datetime(LAST_YEAR + 1, 1, 1):
        refuse("--start-time", text, "is too early or too late for the clock", way_out)
    return time


def listing(text: str) -> str:
    """Parse the name of a table that ``--list`` prints."""
    if text not in LISTINGS:
        known = one_of(LISTINGS)
        refuse("--list", text, "is no list", f"{guessed(text, LISTINGS)}There are {known}.")
    return text


def trackers(text: str) -> str:
    """Parse names of trackers, one or a list with commas."""
    from accelerate_sim.config.value_types import TRACKERS

    for name in map(str.strip, text.split(",")):
        if name not in TRACKERS:
            reason = f"holds {shown(name)}, which is no tracker"
            way_out = f"{guessed(name, TRACKERS)}Use some of {', '.join(TRACKERS)}."
            raise ConfigError([Problem("--log-with", None, "", None, reason, way_out)])
    return text


def brand(text: str) -> str:
    """Parse the names that the screen shows: ``generic`` is the only choice."""
    if text != "generic":
        refuse("--brand", text, "is no choice of names", "Use 'generic', or leave --brand out for the real names.")
    return text


def voice(text: str) -> str:
    """Parse the name of a voice, with or without ``@`` and a version; the text is returned as it is."""
    from accelerate_sim.config.voice_table import voice_choice

    return _as_in_config("--voice", text, voice_choice)


def log_hazard(text: str) -> str:
    """Parse a hazard of the log, with or without ``:`` and a share; the text is returned as it is."""
    from accelerate_sim.config.hazards import hazard_choice

    return _as_in_config("--log-hazard", text, hazard_choice)


def _as_in_config(option: str, text: str, check: Callable[[str], object]) -> str:
    """Return the text if ``check`` of the config takes it. Its error has a reason and, after a semicolon, a way out."""
    try:
        check(text)
    except ValueError as error:
        reason, _, way_out = str(error).partition("; ")
        refuse(option, text, reason, f"{way_out[:1].upper()}{way_out[1:]}.")
    return text


def guessed(text: str, known: list[str] | tuple[str, ...]) -> str:
    """``Did you mean 'x'? `` for a name with a likely misspelling; otherwise empty."""
    close = get_close_matches(text.lower(), known, n=1, cutoff=0.5)
    return f"Did you mean '{shorten(close[0])}'? " if close else ""


def one_of(names: list[str] | tuple[str, ...]) -> str:
    """The names as a list in a sentence: ``a, b and c``."""
    return f"{', '.join(names[:-1])} and {names[-1]}"
