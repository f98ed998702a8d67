"""Checks that a voice has the options that a config sets."""

from collections.abc import Iterator

from accelerate_sim.config.checks.facts import Facts
from accelerate_sim.config.problems import Problem
from accelerate_sim.config.voice_table import voice_choice, voice_options


def voice_has_options(facts: Facts) -> Iterator[Problem]:
    """Problems with ``log.voice_options`` that the voice does not have or whose values are of another kind."""
    log = facts.config.log
    try:
        voice_options(voice_choice(log.voice).entry, log.voice_options)
    except ValueError as error:
        reason, _, way_out = str(error).partition("; ")
        key = "log.voice_options"
        way_out = f"{way_out[:1].upper()}{way_out[1:]}."
        yield Problem.about(key, None, f"{key} {reason} (log.voice = {log.voice})", way_out, ("log.voice",))
