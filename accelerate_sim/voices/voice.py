"""The form of a voice: a table from kinds of record to functions that word them as log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

from accelerate_sim.config.extensions import VOICES
from accelerate_sim.records import RunFacts


class Line(NamedTuple):
    """One log line, without its prefix."""

    text: str
    level: int = logging.INFO
    rank: int = 0
    """Rank that logs the line; a process that plays another rank leaves it out."""


Lines: TypeAlias = Iterable[Line]
Wording: TypeAlias = Callable[[Any, RunFacts], Lines]
"""A record and the facts of its run go in, lines come out; none if the voice does not mention the record."""
Voice: TypeAlias = Mapping[type, Wording]
"""Wordings by the type of record; a kind that is missing is never mentioned."""


def voice_called(name: str) -> Voice:
    """The voice that ``log.voice`` names. KeyError if there is none."""
    voice: Voice = import_module(VOICES[name].module).LINES
    return voice
