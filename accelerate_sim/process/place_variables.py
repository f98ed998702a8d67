"""Reads whole numbers from the environment variables that give a process its place, and words mistakes in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelerate_sim.config.problems import ConfigError, Problem

ENVIRONMENT: Final = "environment"


def count(environ: Mapping[str, str], name: str) -> int:
    """Return the whole number that a variable holds; 0 if it is not set or holds something else."""
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def wrong(name: str, value: str, reason: str, way_out: str) -> ConfigError:
    """Return the error about a variable with this value."""
    return ConfigError([Problem(ENVIRONMENT, None, name, value, reason, way_out)])
