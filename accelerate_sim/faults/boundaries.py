"""``Boundaries``: strikes between steps: at the start of an attempt, in validations, checkpoints and the export."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.faults.moments import Moment, QueuedFault
from accelerate_sim.faults.triggers import LATER_PHASES, START_PHASES
from accelerate_sim.sim.timeline import BLOCK, Calendar

if TYPE_CHECKING:
    from accelerate_sim.faults.pace import Pace
    from accelerate_sim.sim.run import Run


class Boundaries:
    """The faults whose phase is none of a step. There are few, so each is looked up in each attempt."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._calendar = Calendar.of(run.config, run.last_step)
        self._entries: list[QueuedFault] = []
        self._counts: dict[str, list[tuple[int, int]]] = {phase: [] for phase in (*START_PHASES, *LATER_PHASES)}
        """Earlier attempts, and how often a phase has come in each."""
        self._moments: list[Moment] | None = None
        self._slowed = 0
        """Strikes that had slowed the attempt when the moments were computed."""
        self._attempt = 0
        self._after = (0, -math.inf)
        """Step and second of the latest strike here: what comes later is next."""

    def add(self, entry: QueuedFault) -> None:
        """Let a fault wait for its phase, from the next time on that it comes."""
        self._entries.append(entry)
        self._moments = None

    def begin_attempt(self, number: int, pace: Pace) -> None:
        self._attempt, self._pace, self._moments, self._after = number, pace, None, (0, -math.inf)

    def end_attempt(self, completed: int, ended_s: float) -> None:
        """Count how often each phase has come in an attempt that ends at a second, after its ``completed`` steps."""
        for phase in {entry.fault.at.phase for entry in self._entries}:
            steps = [step for step in self._steps(phase) if step <= completed]
            while steps and self._second(phase, steps[-1]) > ended_s:
                steps.pop()
            self._counts[phase].append((self._attempt, len(steps)))

    def head(self) -> Moment | None:
        """The next strike here."""
        if not self._entries:
            return None
        if self._moments is None or self._slowed != len(self._pace.slow):
            self._slowed = len(self._pace.slow)
            found = filter(None, map(self._moment, self._entries))
            self._moments = sorted(found, key=lambda moment: (moment.second, moment.entry.order))
        return self._moments[0] if self._moments else None

    def pop(self) -> None:
        """Remove the next strike, which happens."""
        assert self._moments
        moment = self._moments[0]
        self._after = moment.step, moment.second
        self._entries.remove(moment.entry)
        self._moments = None

    def _moment(self, entry: QueuedFault) -> Moment | None:
        at, pace = entry.fault.at, self._pace
        if self._attempt not in entry.fault.attempts:
            return None
        steps = self._steps(at.phase)
        left = 1 if entry.fault.times != 1 and entry.recurrence else at.count
        if at.step is not None or at.time_s is not None:
            least = max(at.step or 0, pace.step_at(at.time_s) if at.time_s is not None else 0)
            steps = [step for step in steps if step >= least]
        else:
            earlier = [times for attempt, times in self._counts[at.phase] if attempt in entry.fault.attempts]
            left -= sum(earlier) if not entry.recurrence else 0
        seconds = [(step, self._second(at.phase, step)) for step in steps]
        if entry.cause:
            left, seconds = at.count, [each for each in seconds if each[1] >= entry.due_s]
        if at.time_s is not None:
            seconds = [each for each in seconds if each[1] >= at.time_s]
        ahead = [(step, second) for step, second in seconds if second > self._after[1] or not entry.recurrence]
        if not 1 <= left <= len(ahead):
            return None
        step, second = ahead[left - 1]
        return Moment(entry, step + 1, at.phase, second)

    def _steps(self, phase: str) -> list[int]:
        """Steps after which the phase comes in this attempt."""
        first, last = self._pace.first_step, self._run.last_step
        if phase == "restore":
            return [first] if first else []
        if phase in START_PHASES:
            return [first]
        if phase in ("export", "exit"):
            return [last]
        steps = np.arange(first, last)
        due = self._calendar.validates_after(steps) if phase == "eval" else self._calendar.saves_after(steps)
        return [int(step) + 1 for step in steps[due]]

    def _second(self, phase: str, step: int) -> float:
        pace, run = self._pace, self._run
        if phase in START_PHASES:
            loading_s = run.storage.seconds(run.checkpoint_bytes, "load", step) if step else 0.0
            begin_s = pace.begin_s(step + 1)
            return begin_s - loading_s * 0.5 if phase == "restore" else begin_s - loading_s - _left_s(run, phase)
        if phase in ("export", "exit"):
            return pace.begin_s(step + 1) + run.export_times.total * (0.5 if phase == "export" else 1.0)
        times, offset = pace.block((step - 1) // BLOCK), (step - 1) % BLOCK
        validation_s, checkpoint_s = float(times.validation_s[offset]), float(times.checkpoint_s[offset])
        return pace.end_s(step) + (validation_s / 2 if phase == "eval" else validation_s + checkpoint_s / 2)


def _left_s(run: Run, phase: str) -> float:
    """Seconds of the start-up that are left when a phase of it has ended; those of a launch are all of them."""
    startup = run.startup
    if phase in ("launch", "rendezvous"):
        return startup.total
    connected_s = startup.all_reduce_test + startup.detect
    left = {"load": startup.total - startup.weights, "nccl": connected_s, "warmup": startup.detect}
    return left[phase]
