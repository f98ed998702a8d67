"""torch's debug level: OFF, INFO or DETAIL, taken from TORCH_DISTRIBUTED_DEBUG until a script sets it.

What it does not do: change what this package checks. Members of a group always compare what they call, as torch does at
DETAIL. A wrong value of the variable is an error when the level is asked for; in torch it is one at import.
"""

from __future__ import annotations

import os
from enum import Enum

WRONG_LEVEL = "The value of TORCH_DISTRIBUTED_DEBUG must be OFF, INFO, or DETAIL."  # ValueError, torch 2.13.0


class DebugLevel(Enum):
    """The amount of checks and output of torch."""

    OFF = 0
    INFO = 1
    DETAIL = 2

    def __int__(self) -> int:
        return int(self.value)


_chosen: DebugLevel | None = None
"""The level that was set; None before the first call of ``get_debug_level`` reads the environment."""


def get_debug_level() -> DebugLevel:
    """The level that was set, or that of TORCH_DISTRIBUTED_DEBUG. ValueError, torch's, for another value there."""
    if _chosen is None:
        set_debug_level_from_env()
    assert _chosen is not None
    return _chosen


def set_debug_level(level: DebugLevel) -> None:
    """Set the level. TypeError for anything but a DebugLevel."""
    global _chosen
    if not isinstance(level, DebugLevel):
        raise TypeError(f"set_debug_level takes a DebugLevel, not {level!r}")
    _chosen = level


def set_debug_level_from_env() -> None:
    """Set the level from TORCH_DISTRIBUTED_DEBUG, OFF without it. ValueError, torch's, for another value."""
    said = os.environ.get("TORCH_DISTRIBUTED_DEBUG", "OFF").upper()
    if said not in DebugLevel.__members__:
        raise ValueError(WRONG_LEVEL)
    set_debug_level(DebugLevel[said])
