"""``Runs``: the runs of a session in their order: the one that is active, and the one that begins next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from accelerate_sim.session.planned_run import PlannedRun

if TYPE_CHECKING:
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.records import DeviceRecord
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.session.input_protocols import FaultTaker


class Runs:
    """The active run with its state, the plan of the next one, and its number."""

    def __init__(self) -> None:
        self.active: ActiveRun | None = None
        self.live_faults: FaultTaker | None = None
        """Lets more faults strike the active run; None if it takes none."""
        self.skew: Callable[[int], timedelta] | None = None
        """Time by which the clock of a rank's machine is ahead; None if all clocks are right."""
        self.read_idle_gpus: Callable[[], DeviceRecord | None] | None = None
        """Reads the GPUs between two attempts of a job; None at any other time."""
        self._planned: PlannedRun | None = None
        self._number = 1
        self._announced: tuple[int, int] | None = None
        """Numbers of the run and the attempt whose first line was printed last."""
        self._has_ended_one = False

    def plan(self, planned: PlannedRun) -> None:
        """Set the run that begins next."""
        self._planned = planned
        self._number = planned.plan.number

    def planned(self, config: RunConfig) -> PlannedRun:
        """The run that begins next; a new plan if a script brings a config of its own."""
        if self._planned and self._planned.plan.config is config:
            return self._planned
        from accelerate_sim.sim.plan import Plan

        return PlannedRun(Plan(config, self._number), self._planned.resumption if self._planned else None)

    def announces(self, run: int, attempt: int) -> bool:
        """True at the first call for an attempt of a run, whose first line is then to be printed."""
        before, self._announced = self._announced, (run, attempt)
        return before != self._announced

    def begin(self, active: ActiveRun) -> None:
        """Make ``active`` the active run."""
        self.active, self.read_idle_gpus = active, None

    def take_faults(self, faults: FaultTaker) -> None:
        """Let more faults be asked for while the active run goes on."""
        self.live_faults = faults

    def skew_clocks(self, skew: Callable[[int], timedelta] | None) -> None:
        """Let the machines' clocks be ahead by ``skew(rank)`` in the active run; None: all are right."""
        self.skew = skew

    def end_attempt(self) -> None:
        """No run is active until the next attempt begins."""
        self.active = None

    def idle_until_attempt(self, read_gpus: Callable[[], DeviceRecord | None]) -> None:
        """Read the GPUs with ``read_gpus`` until the next attempt begins."""
        self.read_idle_gpus = read_gpus

    def end(self) -> None:
        """End the active run; the next run has the next number."""
        self.active = self._planned = self.skew = self.live_faults = None
        self._number += 1
        self._has_ended_one = True

    def where(self) -> str:
        """A phrase that says how far the session is, for its last line."""
        if self.active:
            return self.active.where()
        return "between two runs" if self._has_ended_one else "before the first step"
