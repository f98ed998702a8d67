"""The types of config values: how each is written, and which values are refused.

A validator raises ValueError with the end of a sentence about the key: what is wrong, and what to use instead.
"""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from accelerate_sim.config import tracker_table, voice_table
from accelerate_sim.config.fault_entries import fault_entries
from accelerate_sim.config.hazards import hazard_names
from accelerate_sim.config.host_names import unusable_part


def _not_bool(value: Any) -> Any:
    # Python counts YAML's true as an int, but a switch in place of a count is a mistake.
    if isinstance(value, bool):
        raise ValueError("is a switch (true/false), not a number")
    return value


def _plain_name(value: Any) -> Any:
    if isinstance(value, str) and any(not character.isprintable() for character in value):
        raise ValueError("contains control characters; use plain text")
    return value


def _host_names(value: Any) -> Any:
    value = _plain_name(value)
    if isinstance(value, str) and (wrong := unusable_part(value)) is not None:
        raise ValueError(f"holds {wrong!r:.40}, which is in no host name; use letters, digits, '-' and '.'")
    return value


TRACKERS = tuple(tracker_table.TRACKERS)
Count = Annotated[int, BeforeValidator(_not_bool)]
"""A whole number, with or without bounds of its own."""
Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, le=1e18, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, BeforeValidator(_plain_name), Field(min_length=1, max_length=100)]
HostNames = Annotated[str, BeforeValidator(_host_names), Field(min_length=1, max_length=1_000_000)]
Range = tuple[Positive, Positive]


def _speed(value: Any) -> Any:
    if value == "max":
        return math.inf
    try:
        speed = float(_not_bool(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("is neither a number nor 'max'; use e.g. 250") from None
    if not 0 < speed < math.inf:
        raise ValueError("is not a number above 0; for no waiting at all use 'max'")
    return speed


def _interval(value: Any) -> Any:
    if value == "epoch":
        return 0
    try:
        number = float(_not_bool(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("is neither a number of steps nor 'epoch'; use e.g. 500") from None
    if not (1 <= number <= 1e8 and number.is_integer()):
        raise ValueError("is not a whole number of steps; use 'epoch' for none in between")
    return int(number)


def _trackers(value: Any) -> Any:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"holds {name!r:.40}, which is no tracker; use some of {', '.join(TRACKERS)}")
    return tuple(dict.fromkeys(names))


def _voice(value: Any) -> Any:
    voice_table.voice_choice(value)
    return value


def _address(value: Any) -> Any:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("is not HOST:PORT; use e.g. 127.0.0.1:9400, or 0.0.0.0:9400 for all who can reach this host")
    return value


Address = Annotated[str, BeforeValidator(_address)]
"""Host and port to listen on, as HOST:PORT."""
FaultEntries = Annotated[tuple[str, ...], BeforeValidator(fault_entries)]
"""Faults, each in words."""
Trackers = Annotated[tuple[str, ...], BeforeValidator(_trackers)]
"""Names of TRACKERS."""
Hazards = Annotated[tuple[str, ...], BeforeValidator(hazard_names)]
"""Hazards of the log, each with or without its share of the lines."""
Voice = Annotated[str, BeforeValidator(_voice)]
"""A name of ``voice_table.VOICES``, with or without ``@`` and a version."""
Speed = Annotated[float, BeforeValidator(_speed), PlainSerializer(lambda speed: "max" if speed == math.inf else speed)]
"""Simulated seconds per real second; infinite for 'max'."""
Interval = Annotated[int, BeforeValidator(_interval), PlainSerializer(lambda steps: steps or "epoch")]
"""Steps; 0 for 'epoch'."""
