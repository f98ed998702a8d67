"""``RunSource``: the plan of each run of a session, from a config file or drawn from the catalog."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.config.load import ConfigSource, Override
from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.process.own_hosts import with_own_hosts
from accelerate_sim.session.ready_runs import run_of
from accelerate_sim.sim.length import overlong
from accelerate_sim.sim.memory.fit import misfit
from accelerate_sim.sim.plan import Plan

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.process.placement import Placement

FAULT = "--fault"


class RunSource:
    """The plans of a session's runs: of a config file, or drawn from the catalog.

    Under a launcher their cluster has the shape of the job.
    """

    def __init__(
        self,
        path: Path | None,
        changes: Sequence[Override],
        seed: int | None,
        placement: Placement | None = None,
        resumption: Resumption | None = None,
        faults: Sequence[str] = (),
    ) -> None:
        """``faults`` are those of ``--fault``, after the config's own."""
        self._changes = changes
        self._faults = faults
        self._placement = placement
        known = resumption is not None and resumption.begun and path is None and seed is None
        self._resumed = resumption.state if resumption and known else None
        source = self._read(path)
        self._source = source if path else None
        self._given = source.data
        # Without --seed each session draws other runs.
        self._draw_seed = seed if seed is not None else int.from_bytes(os.urandom(4), "little")
        self._latest: Plan | None = None

    def plan(self, number: int) -> Plan:
        """The plan of run ``number``. Raises ConfigError, also when its model does not fit its GPUs."""
        if self._latest is None or self._latest.number != number:
            source = self._source or self._resumed_config(number) or self._drawn(number)
            self._latest = run_of(source.data, number) or checked_plan(source, number)
        return self._latest

    def located(self, error: ConfigError) -> ConfigError:
        """``error`` with the file and line, or the option, that each of its keys comes from."""
        return ConfigError(map((self._source or self._read(None)).located, error.problems))

    @property
    def raw(self) -> Mapping[str, Any]:
        """The config as it is written, before draws and checks."""
        return self._given

    @property
    def drawn(self) -> bool:
        """True if each run draws a config of its own."""
        return self._source is None

    def _resumed_config(self, number: int) -> ConfigSource | None:
        """The config of the resumed run, if ``number`` is its number and the command line names no other."""
        state = self._resumed
        if state is None or state.run != number:
            return None
        source = ConfigSource.read(None, self._changes, base=state.config)
        return source.with_faults(self._faults, FAULT) if self._are_new(state.config) else source

    def _are_new(self, config: Mapping[str, Any]) -> bool:
        """True unless the config of the resumed run has the faults of the command line already."""
        play = config.get("faults", {}).get("play", ())
        return len(play) < len(self._faults) or not self._faults

    def _drawn(self, number: int) -> ConfigSource:
        from accelerate_sim.session.random_run import draw_run

        return self._read(None, base=draw_run(self._draw_seed, number, self._given))

    def _read(self, path: Path | None, base: Mapping[str, Any] | None = None) -> ConfigSource:
        source = ConfigSource.read(path, self._changes, base).with_faults(self._faults, FAULT)
        if self._placement is None:
            return with_own_hosts(source)
        cluster = {"nodes": self._placement.num_nodes, "gpus_per_node": self._placement.local_world_size}
        return with_own_hosts(source.with_cluster(cluster, "launcher"))


def checked_plan(source: ConfigSource, number: int) -> Plan:
    """The plan of a config whose keys all agree, and that can be run. Raises ConfigError."""
    plans: list[Plan] = []

    def check(config: RunConfig) -> Problem | None:
        plans.append(Plan(config, number))
        problem = misfit(plans[-1]) or overlong(plans[-1])
        if problem is None and config.faults.play:
            problem = _fault_problem(plans)
        return problem

    source.resolve(number, check=check)
    return plans[-1]


def _fault_problem(plans: list[Plan]) -> Problem | None:
    """The first mistake in the faults of the latest plan; without one, the plan gets them in canonical words."""
    from accelerate_sim.faults.planned import PlannedMistake, canonical, refuse_unreachable
    from accelerate_sim.session.restarts import restarts_of
    from accelerate_sim.sim.run import Run

    plan = plans[-1]
    try:
        words = canonical(plan)
        refuse_unreachable(Run.of(plan), restarts_of(plan.config))
    except PlannedMistake as wrong:
        return Problem.about(f"faults.play.{wrong.index}", None, wrong.mistake.reason, wrong.mistake.way_out)
    faults = plan.config.faults.model_copy(update={"play": words})
    plans.append(Plan(plan.config.model_copy(update={"faults": faults}), plan.number))
    return None
