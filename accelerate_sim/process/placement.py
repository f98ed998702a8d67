"""Which rank this process plays: what a launcher says in the environment, by torchrun's contract.

RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE count processes; with LOCAL_RANK set there is a launcher, which is how
Accelerate tells. Without one a single process plays all ranks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from accelerate_sim.config.problems import ConfigError, Problem, shown
from fake_torch_dist.launcher.environment_names import RESTART_COUNT, TERMINAL

ENVIRONMENT = "environment"
WAY_OUT = "fake-torchrun and torchrun set it; unset LOCAL_RANK to play all ranks in one process."


@dataclass(frozen=True, slots=True)
class Placement:
    """One process's place in a job."""

    rank: int
    local_rank: int
    world_size: int
    local_world_size: int
    """Processes on each node."""
    attempt: int = 0
    """Restarts of the whole job before this one."""

    @property
    def node(self) -> int:
        return self.rank // self.local_world_size

    @property
    def num_nodes(self) -> int:
        return self.world_size // self.local_world_size

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Placement | None:
        """The place that the environment gives, None without a launcher; ConfigError for one that is none."""
        if not environ.get("LOCAL_RANK"):
            return None
        world_size = _number(environ, "WORLD_SIZE", 1)
        local_world_size = _number(environ, "LOCAL_WORLD_SIZE", 1) if "LOCAL_WORLD_SIZE" in environ else world_size
        place = cls(
            rank=_number(environ, "RANK", 0, world_size),
            local_rank=_number(environ, "LOCAL_RANK", 0, local_world_size),
            world_size=world_size,
            local_world_size=local_world_size,
            attempt=_number(environ, RESTART_COUNT, 0) if RESTART_COUNT in environ else 0,
        )
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            if not environ.get(name):
                raise _missing(name)
        if world_size % local_world_size:
            reason = f"is not a multiple of LOCAL_WORLD_SIZE = {local_world_size}: nodes would differ in size"
            raise _wrong("WORLD_SIZE", str(world_size), reason, "Start as many processes on each node.")
        return place


def _number(environ: Mapping[str, str], name: str, least: int, below: int | None = None) -> int:
    text = environ.get(name, "")
    if not text:
        raise _missing(name)
    if not text.isdecimal():
        raise _wrong(name, shown(text), "is not a whole number", WAY_OUT)
    number = int(text)
    if number < least or (below is not None and number >= below):
        bounds = f"is not from {least} to {below - 1}" if below is not None else f"is less than {least}"
        raise _wrong(name, text, bounds, WAY_OUT)
    return number


def _missing(name: str) -> ConfigError:
    return ConfigError([Problem(ENVIRONMENT, None, "", None, f"LOCAL_RANK is set, but {name} is not", WAY_OUT)])


def _wrong(name: str, value: str, reason: str, way_out: str) -> ConfigError:
    return ConfigError([Problem(ENVIRONMENT, None, name, value, reason, way_out)])


def is_other_rank(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether what every rank finds wrong is for another one to say."""
    return environ.get("RANK", "0") not in ("", "0")


def terminal_behind_launcher(environ: Mapping[str, str] = os.environ) -> str | None:
    """Path of the terminal that shows what this process writes to standard output, if a launcher draws there."""
    return environ.get(TERMINAL) or None
