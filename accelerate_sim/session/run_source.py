"""Which runs are played, and how, as the command line says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.config.load import ConfigSource, Override
from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.length import overlong
from accelerate_sim.sim.memory.fit import misfit
from accelerate_sim.sim.plan import Plan

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.process.placement import Placement
    from accelerate_sim.session.coordination import Job
    from accelerate_sim.session.recording import Recording


class Score:
    """Which runs are played: a config file, or anything from the catalog; on as many GPUs as there are processes."""

    def __init__(
        self,
        path: Path | None,
        changes: Sequence[Override],
        seed: int | None,
        placement: Placement | None = None,
        resumption: Resumption | None = None,
    ) -> None:
        self._changes = changes
        self._placement = placement
        known = resumption is not None and resumption.begun and path is None and seed is None
        self._resumed = resumption.state if resumption and known else None
        source = self._read(path)
        self._source = source if path else None
        self._given = source.data
        # Nobody asked for a particular run, so each session shows others.
        self._draw_seed = seed if seed is not None else int.from_bytes(os.urandom(4), "little")

    def config(self, number: int) -> RunConfig:
        """The config of run ``number``. Raises ConfigError, also when its model does not fit its GPUs."""
        source = self._source or self._again(number) or self._drawn(number)
        return source.resolve(number, check=lambda config: _check(Plan(config, number)))

    def located(self, error: ConfigError) -> ConfigError:
        """The same error with the file and line, or the option, that its keys come from."""
        return ConfigError(map((self._source or self._read(None)).located, error.problems))

    @property
    def drawn(self) -> bool:
        """Whether each run has a config of its own."""
        return self._source is None

    def _again(self, number: int) -> ConfigSource | None:
        """The config that a run had which goes on, if nobody says which."""
        state = self._resumed
        if state is None or state.run != number:
            return None
        return ConfigSource.read(None, self._changes, base=state.config)

    def _drawn(self, number: int) -> ConfigSource:
        from accelerate_sim.session.random_run import draw_run

        return self._read(None, base=draw_run(self._draw_seed, number, self._given))

    def _read(self, path: Path | None, base: Mapping[str, Any] | None = None) -> ConfigSource:
        source = ConfigSource.read(path, self._changes, base)
        if self._placement is None:
            return source
        cluster = {"nodes": self._placement.num_nodes, "gpus_per_node": self._placement.local_world_size}
        return source.with_cluster(cluster, "launcher")


def _check(plan: Plan) -> Problem | None:
    """The problem with a run whose keys all agree."""
    return misfit(plan) or overlong(plan)


@dataclass(frozen=True)
class Options:
    """How a session is played, beside what its config says."""

    start_time: datetime | None = None
    duration_s: float | None = None
    output_dir: Path | None = None
    resumption: Resumption | None = None
    ascii_only: bool = False
    progress: bool = True
    job: Job | None = None
    """The processes that play one rank each; this one is rank 0."""
    recording: Recording | None = None
    """Takes the place of standard output."""
