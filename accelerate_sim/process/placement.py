"""The rank of this process, read from the environment variables that torchrun sets.

RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE count processes. If LOCAL_RANK is set, a launcher has started this
process; Accelerate decides by the same variable. What Slurm, MPI and Kubernetes set in their place is translated first
(``schedulers``). Without a launcher a single process runs all ranks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from accelerate_sim.config.problems import ConfigError, Problem, shown
from accelerate_sim.process.place_variables import ENVIRONMENT, wrong
from accelerate_sim.process.schedulers import apply, detect, rank_text
from fake_torch_dist.launcher.environment_names import RANKS_PER_PROCESS, RESTART_COUNT, TERMINAL

SCHEDULER_RESTARTS = ("SLURM_RESTART_COUNT", "JOBSET_RESTART_ATTEMPT")
WAY_OUT = "fake-torchrun and torchrun set it; unset LOCAL_RANK to play all ranks in one process."


@dataclass(frozen=True, slots=True)
class Placement:
    """The rank of one process, and the size of the job it belongs to."""

    rank: int
    local_rank: int
    """-1 if the environment does not have it, until the ranks have met."""
    world_size: int
    local_world_size: int
    """Processes on each node; 0 if the environment does not have it, until the ranks have met."""
    attempt: int = 0
    """Number of times that the launcher has restarted the whole job before."""
    likely_local_size: int = 0
    """Ranks on this node from the scheduler's variables, while ``local_world_size`` is not known; 0 without them."""
    num_played: int = 1
    """Ranks that this process plays, from ``rank`` on; as many as each other process of the job."""

    def playing(self, number: int) -> Placement:
        """The placement of a process that plays ``number`` ranks, from this one, which counts processes."""
        return replace(
            self, rank=self.rank * number, local_rank=self.local_rank * number, world_size=self.world_size * number,
            local_world_size=self.local_world_size * number, num_played=number,
        )  # fmt: skip

    @property
    def ranks(self) -> range:
        """The ranks that this process plays."""
        return range(self.rank, self.rank + self.num_played)

    @property
    def process(self) -> int:
        """The number of this process among those of the job."""
        return self.rank // self.num_played

    @property
    def num_processes(self) -> int:
        """Processes of the job."""
        return self.world_size // self.num_played

    @property
    def plays_node(self) -> bool:
        """True if each process plays all ranks of its node."""
        return self.num_played == self.local_world_size

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
        """The placement in ``environ``; None without a launcher. Raises ConfigError if variables do not agree."""
        detection = detect(environ)
        if detection:
            environ = {**environ, **detection.variables}
        elif not environ.get("LOCAL_RANK"):
            return None
        world_size = _number(environ, "WORLD_SIZE", 1)
        known = not detection and environ.get("LOCAL_WORLD_SIZE")
        local_world_size = _number(environ, "LOCAL_WORLD_SIZE", 1) if known else 0
        local_rank = -1
        if environ.get("LOCAL_RANK"):
            local_rank = _number(environ, "LOCAL_RANK", 0, local_world_size or world_size)
        placement = cls(
            rank=_number(environ, "RANK", 0, world_size),
            local_rank=local_rank,
            world_size=world_size,
            local_world_size=local_world_size,
            attempt=_attempts(environ),
            likely_local_size=detection.local_size if detection else 0,
        )
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            if not environ.get(name):
                raise _missing(name, "LOCAL_RANK" if environ.get("LOCAL_RANK") else "RANK")
        if local_world_size and world_size % local_world_size:
            reason = f"is not a multiple of LOCAL_WORLD_SIZE = {local_world_size}: nodes would differ in size"
            raise wrong("WORLD_SIZE", str(world_size), reason, "Start as many processes on each node.")
        return placement


def _attempts(environ: Mapping[str, str]) -> int:
    """Number of times that a launcher and a scheduler have started this job before."""
    return (_number(environ, RESTART_COUNT, 0) if environ.get(RESTART_COUNT) else 0) + scheduler_restarts(environ)


def scheduler_restarts(environ: Mapping[str, str] = os.environ) -> int:
    """Number of times that Slurm has requeued the job, or JobSet has made its pods again."""
    return sum(_number(environ, name, 0) for name in SCHEDULER_RESTARTS if environ.get(name))


def _number(environ: Mapping[str, str], name: str, least: int, below: int | None = None) -> int:
    text = environ.get(name, "")
    if not text:
        raise _missing(name)
    if not text.isdecimal():
        raise wrong(name, shown(text), "is not a whole number", WAY_OUT)
    number = int(text)
    if number < least or (below is not None and number >= below):
        bounds = f"is not from {least} to {below - 1}" if below is not None else f"is less than {least}"
        raise wrong(name, text, bounds, WAY_OUT)
    return number


def _missing(name: str, known: str = "LOCAL_RANK") -> ConfigError:
    way_out = WAY_OUT
    if name == "MASTER_ADDR":
        way_out = (
            "Set it to the host of rank 0 for all ranks (mpirun -x MASTER_ADDR=HOST), or start them by fake-torchrun."
        )
    return ConfigError([Problem(ENVIRONMENT, None, "", None, f"{known} is set, but {name} is not", way_out)])


@cache
def own_placement() -> Placement | None:
    """The placement of this process, read once; torchrun's variables are set if they were not. Raises ConfigError."""
    apply(detect(os.environ))
    number = _ranks_per_process()
    placement = Placement.of()
    if placement is None or number == 1:
        return placement
    return placement.playing(number) if placement.local_world_size else replace(placement, num_played=number)


def _ranks_per_process() -> int:
    """The number of ranks that each process plays. The variable is removed: others who read it can't play several."""
    if not os.environ.get(RANKS_PER_PROCESS):
        return 1
    number = _number(os.environ, RANKS_PER_PROCESS, 1)
    del os.environ[RANKS_PER_PROCESS]
    return number


if hasattr(os, "register_at_fork"):
    # A launcher forks the ranks, and sets the variables of each in the child.
    os.register_at_fork(after_in_child=own_placement.cache_clear)


def is_other_rank(environ: Mapping[str, str] = os.environ) -> bool:
    """True if another rank prints the errors that every rank finds."""
    return rank_text(environ) not in ("", "0")


def terminal_behind_launcher(environ: Mapping[str, str] = os.environ) -> str | None:
    """Path of the terminal on which the launcher shows this process's standard output; None if there is none."""
    return environ.get(TERMINAL) or None
