"""The form of a voice: a table from kinds of record to functions that word them as log lines.

A wording is given the record and the state of its voice in the run: in house style the facts of the run, in other
voices an object that the module makes at the run's beginning. It may count and average there, but all figures are the
records'.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from accelerate_sim.config.voice_table import voice_choice, voice_options
from accelerate_sim.records import RunFacts

if TYPE_CHECKING:
    from accelerate_sim.sim.plan import Plan


class Line(NamedTuple):
    """One log line. The house's lines get a prefix; those of other voices are complete."""

    text: str
    level: int = logging.INFO
    rank: int = 0
    """Rank that logs the line; a process that plays another rank leaves it out."""
    time: datetime | None = None
    """Moment of the line; None: the present time of the clock."""
    to_stderr: bool = False


class Bar(NamedTuple):
    """The present state of a progress bar, which replaces the state before. A bar is the main process's."""

    text: Callable[[int], str]
    """The bar in so many columns; 0: its width where there is no terminal."""
    to_stderr: bool = True
    leaves: bool | None = None
    """None while the bar goes on. At its end, True: it stays as a line; False: it is wiped out."""


Wording: TypeAlias = Callable[[Any, Any], Iterable[Any]]
"""A record and the state of the voice go in, ``Line`` and ``Bar`` objects come out; none if the record is not
mentioned."""


@dataclass(frozen=True)
class Setting:
    """The run in which a voice is used, and what the user asks of the voice."""

    run: RunFacts
    plan: Plan
    version: str
    """Version of the framework; empty for a voice without versions."""
    options: Mapping[str, Any]
    """All options of the voice with their values."""
    now: Callable[[], datetime]
    """Present time of the simulated clock."""


class VoiceState:
    """State of a voice in one run; a voice that averages or counts has a subclass."""

    def __init__(self, setting: Setting) -> None:
        self.run = setting.run
        self.plan = setting.plan
        self.version = setting.version
        self.options = setting.options
        self.now = setting.now


class Scalars(NamedTuple):
    """Tags of a framework's TensorBoard scalars, by the attribute of the record that each shows."""

    step: Mapping[str, str]
    evaluation: Mapping[str, str]


def main_rank(state: Any) -> Container[int]:
    """Rank 0, which prints the lines of most frameworks."""
    return (0,)


class Voice(NamedTuple):
    """A voice as its module defines it."""

    lines: Mapping[type, Wording]
    """Wordings by the type of record."""
    begin: Callable[[Setting], Any] = VoiceState
    """Makes the state of a run, which is the second argument of each wording."""
    ranks: Callable[[Any], Container[int]] = main_rank
    """Ranks that print lines, by the state; processes of other ranks make no records."""
    scalars: Scalars | None = None
    """Scalars of the TensorBoard tracker; None: the house's."""
    is_house: bool = False
    """True: lines are logged with the house's prefix, among the house's tables, bars and the script's own lines."""


class Speaker(NamedTuple):
    """A voice in one run."""

    voice: Voice
    state: Any
    ranks: Container[int]
    """Ranks that print lines."""


def voice_called(name: str) -> Voice:
    """The voice that ``log.voice`` names. ValueError if there is none."""
    voice: Voice = import_module(voice_choice(name).entry.module).VOICE
    return voice


def speaker_of(plan: Plan, run: RunFacts, now: Callable[[], datetime]) -> Speaker:
    """The voice that the config of ``plan`` names, at the beginning of its run."""
    log = plan.config.log
    choice = voice_choice(log.voice)
    voice = voice_called(log.voice)
    state = voice.begin(Setting(run, plan, choice.version, voice_options(choice.entry, log.voice_options), now))
    return Speaker(voice, state, voice.ranks(state))
