"""``FaultSchedule``: which faults strike a run and when, attempt by attempt.

It is a pure function of the config and its seed: every process of a job, ``--plan``, and a process that resumes derive
the same one. Triggers wait in three queues: by step, by the number of steps that the job has made in its life, and by
second. So an attempt costs what strikes in it, however many faults there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from accelerate_sim.faults.fault import Fault
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.language import render
from accelerate_sim.faults.mistake import FaultMistake
from accelerate_sim.faults.moments import Moment
from accelerate_sim.faults.occurrence import Attempt, Occurrence, fault_seed
from accelerate_sim.faults.pace import Pace
from accelerate_sim.faults.queues import FaultQueues
from accelerate_sim.faults.targets import hit_by
from accelerate_sim.sim.timeline import BlockTimes

if TYPE_CHECKING:
    from accelerate_sim.sim.run import Run

MOST_STRIKES = 100_000
"""Strikes of a run, above which its config is refused."""
FOREVER = 10**12
"""A last step after all steps."""


@dataclass(frozen=True)
class FaultSchedule:
    """The attempts of a run with faults. ``restarts``: how often the job is started again at the most."""

    run: Run
    faults: tuple[Fault, ...]
    restarts: int
    drawn: bool = False
    """Faults of the fleet's rate happen, too."""
    resumed: int = 0
    """Attempts that another one has followed already, as a user has gone on after the end of a job."""
    num_asked: int = 0
    """The last of the faults, which were asked for while the job ran."""

    @property
    def asked_faults(self) -> tuple[Fault, ...]:
        """The faults that were asked for while the job ran, and are not in its config."""
        return self.faults[len(self.faults) - self.num_asked :]

    @property
    def asked_words(self) -> tuple[str, ...]:
        """The canonical words of these faults."""
        return tuple(map(render, self.asked_faults))

    def attempt(self, number: int) -> Attempt | None:
        """Attempt ``number``, from 0; None if the job does not come to it."""
        while len(self._walked) <= number:
            following = self._walker.following()
            if following is None:
                return None
            self._walked.append(following)
        return self._walked[number]

    def attempts(self) -> Iterator[Attempt]:
        """All attempts in order."""
        number = 0
        while (attempt := self.attempt(number)) is not None:
            yield attempt
            number += 1

    def with_fault(self, fault: Fault) -> FaultSchedule:
        """The schedule with one more fault, which is asked for and lies ahead, so that past strikes stay the same."""
        return replace(self, faults=(*self.faults, fault), num_asked=self.num_asked + 1)

    @cached_property
    def _walked(self) -> list[Attempt]:
        return []

    @cached_property
    def _walker(self) -> _Walk:
        return _Walk(self)


class _Walk:
    """The state of a schedule's walk through the life of a job.

    It is no generator: a rank that ends with a suspended one has to finalize its interpreter, which takes longer than
    its start.
    """

    def __init__(self, schedule: FaultSchedule) -> None:
        self.schedule = schedule
        self.run = schedule.run
        self.config = schedule.run.config
        self.last_step = schedule.run.last_step
        self.pending = FaultQueues(schedule.run, schedule.faults, drawn=schedule.drawn)
        self.struck: dict[str, int] = {}
        """Strikes so far by the fault's id."""
        self.total = 0
        self.blocks: dict[int, BlockTimes] = {}
        self.latest: Attempt | None = None

    def following(self) -> Attempt | None:
        """Return the attempt after the latest one, or the first; None if the job does not come to it."""
        if self.latest is None:
            self.latest = self._begun(0, 0.0, (), ())
        elif self.latest.goes_on:
            before, begin_s = self.latest, self._next_begin_s(self.latest)
            carried = tuple(self._carried(before, _step_of(before.saved), begin_s))
            self.latest = self._begun(before.number + 1, begin_s, before.saved, carried)
        else:
            return None
        return self.latest

    def _begun(self, number: int, begin_s: float, saved: tuple[int, ...], carried: tuple[Occurrence, ...]) -> Attempt:
        pace = Pace(self.run.timeline, _step_of(saved), begin_s, self.blocks)
        pace.slow_down(carried)
        self.pending.begin_attempt(number, pace)
        return self._attempt(number, pace, begin_s, saved, carried)

    def _attempt(
        self, number: int, pace: Pace, begin_s: float, saved: tuple[int, ...], carried: tuple[Occurrence, ...]
    ) -> Attempt:
        strikes: list[Occurrence] = []
        damaged: set[int] = set()
        end_s, completed = math.inf, self.last_step
        while (moment := self.pending.pop()) is not None:
            strike = self._strike(moment, number, pace)
            if not strike.ending:
                pace.slow_down([strike])
                strike = self._with_end(strike, pace)
            strikes.append(strike)
            self.total += 1
            if self.total > MOST_STRIKES:
                reason = f"faults strike more than {MOST_STRIKES:,} times"
                raise FaultMistake(reason, "Let them come less often, or give them times=N.")
            self.pending.after_strike(moment, strike, self.struck[strike.fault.id])
            if "checkpoint" in KINDS[strike.fault.kind].damages(strike):
                there = self._saved(saved, pace.first_step, strike.step - 1, strike)
                damaged |= set(there[-1:])
            if strike.ending:
                end_s, completed = strike.second + strike.ending.after_s, strike.step - 1
                break
        ended_by = strikes[-1] if strikes and strikes[-1].ending else None
        self.pending.end_attempt(pace.first_step, completed, ended_by.second if ended_by else math.inf)
        whole = tuple(step for step in self._saved(saved, pace.first_step, completed, ended_by) if step not in damaged)
        ending = ended_by.ending if ended_by else None
        restarts = ending is not None and ending.restarts and number < self.schedule.restarts
        goes_on = restarts or (ending is not None and number < self.schedule.resumed)
        start_s = begin_s - self.run.startup.total - self._loading_s(pace.first_step)
        return Attempt(
            number, pace.first_step, start_s, begin_s, tuple(strikes), carried,
            partial(pace.begin_s, self.last_step + 1) if ending is None else partial(float, end_s), whole, goes_on,
            number < self.schedule.restarts,
        )  # fmt: skip

    # --- A strike -------------------------------------------------------------------------------

    def _strike(self, moment: Moment, attempt: int, pace: Pace) -> Occurrence:
        fault = moment.fault
        count = self.struck.get(fault.id, 0)
        self.struck[fault.id] = count + 1
        hit = hit_by(fault.targets, self.run.layout, fault_seed(fault, self.run.noise_seed), count)
        strike = Occurrence(
            fault, count, attempt, moment.step, moment.phase, moment.second, hit, self.run, moment.cause
        )
        strike = self._with_length(strike, pace)
        ends = KINDS[fault.kind].ends
        return replace(strike, ending=ends(strike)) if ends else strike

    def _with_length(self, strike: Occurrence, pace: Pace) -> Occurrence:
        """The strike with the steps that it affects."""
        span, ramp = strike.fault.lasts, strike.fault.ramp
        step_s = self.run.mean_step_s
        ramp_steps = ramp.steps if ramp.steps is not None else round((ramp.seconds or 0.0) / step_s)
        if span.steps is not None:
            last = strike.step + span.steps - 1
            return replace(strike, last_step=last, end_s=strike.second + span.steps * step_s, ramp_steps=ramp_steps)
        assert span.seconds is not None
        end_s = strike.second + span.seconds
        if not span.seconds:
            return replace(strike, end_s=end_s)
        long = replace(strike, last_step=FOREVER, end_s=end_s, ramp_steps=ramp_steps)
        if math.isinf(end_s):
            return long
        return replace(long, last_step=pace.last_until(long))

    def _with_end(self, strike: Occurrence, pace: Pace) -> Occurrence:
        """The strike with the second at which the last step that it affects ends, if its length is one of steps."""
        if not strike.fault.lasts.steps:
            return strike
        return replace(strike, end_s=pace.end_s(min(strike.last_step, self.last_step)))

    # --- Between attempts -----------------------------------------------------------------------

    def _saved(
        self, before: Sequence[int], first_step: int, completed: int, ended_by: Occurrence | None = None
    ) -> tuple[int, ...]:
        """Steps of the checkpoints that are there after ``completed`` steps, as many as are kept."""
        every, keep = self.config.checkpoint.every, self.config.checkpoint.keep_last
        kept = [step for step in before if step <= first_step]
        if every:
            last = completed - completed % every
            if ended_by and ended_by.phase in ("eval", "checkpoint") and last == completed:
                last -= every
            kept += [
                step for step in range(max(last - (keep - 1) * every, every), last + 1, every) if step > first_step
            ]
        if ended_by and ended_by.ending and ended_by.ending.saves and completed > max(kept, default=0):
            kept.append(completed)
        return tuple(kept[-keep:])

    def _next_begin_s(self, attempt: Attempt) -> float:
        """Second at which the first step of the next attempt begins."""
        ended_by = attempt.ended_by
        assert ended_by and ended_by.ending
        first, run = _step_of(attempt.saved), self.run
        pause_s = max(60.0 * self.config.faults.restart_minutes, run.startup.total + self._loading_s(first))
        return attempt.end_s + max(pause_s, ended_by.ending.min_restart_s)

    def _loading_s(self, step: int) -> float:
        """Seconds in which the checkpoint of a step is read; 0 at the beginning of the run."""
        return self.run.storage.seconds(self.run.checkpoint_bytes, "load", step) if step else 0.0

    def _carried(self, attempt: Attempt, first_step: int, begin_s: float) -> Iterator[Occurrence]:
        """Effects that still last when the next attempt begins."""
        for strike in (*attempt.carried, *attempt.occurrences):
            if strike.ending or strike.last_step < strike.step:
                continue
            if strike.fault.lasts.steps is not None:
                left = strike.last_step - attempt.completed
                if left > 0:
                    yield replace(strike, step=first_step + 1, last_step=first_step + left, ramp_steps=0)
            elif strike.end_s > begin_s:
                last = FOREVER
                if not math.isinf(strike.end_s):
                    last = Pace(self.run.timeline, first_step, begin_s, self.blocks).step_at(strike.end_s)
                yield replace(strike, step=first_step + 1, last_step=last, ramp_steps=0)


def _step_of(saved: Sequence[int]) -> int:
    """Return the step of the last checkpoint, after which an attempt goes on; 0 if there is none."""
    return saved[-1] if saved else 0
