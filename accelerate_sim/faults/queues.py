"""``FaultQueues``: the faults that have yet to strike, in queues by step, by steps of the job's life, and by second.

The earliest moment of all queues strikes next. Within one moment the order of the config counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from accelerate_sim.faults.boundaries import Boundaries
from accelerate_sim.faults.drawn import drawn_faults
from accelerate_sim.faults.fault import Fault
from accelerate_sim.faults.moments import Moment, QueuedFault, at_second, in_step, share_of
from accelerate_sim.faults.occurrence import Occurrence, fault_seed
from accelerate_sim.faults.triggers import STEP_PHASES, At
from accelerate_sim.sim import noise

if TYPE_CHECKING:
    from accelerate_sim.faults.pace import Pace
    from accelerate_sim.sim.run import Run

Take: TypeAlias = Callable[[], object]


class FaultQueues:
    """The queues, over all attempts of a job."""

    def __init__(self, run: Run, faults: Sequence[Fault], *, drawn: bool) -> None:
        self._run = run
        self._seconds: list[tuple[float, int, QueuedFault]] = []
        self._steps: list[tuple[float, int, QueuedFault]] = []
        """By the step and the share of it that has passed."""
        self._lives: list[tuple[float, int, QueuedFault]] = []
        self._later: list[QueuedFault] = []
        """Faults that may strike in a later attempt, and in the present one do not."""
        self._children: dict[str, list[QueuedFault]] = {}
        self._boundaries = Boundaries(run)
        self._life = 0
        """Steps that earlier attempts have made."""
        self._attempt = self._first_step = 0
        self._orders = 0
        self._drawn: Iterator[Fault] = drawn_faults(run) if drawn else iter(())
        for fault in faults:
            self._add(QueuedFault(fault, self._order()))
        self._draw()

    def _order(self) -> int:
        self._orders += 1
        return self._orders

    def _draw(self) -> None:
        """Queue the next fault of the fleet."""
        if (fault := next(self._drawn, None)) is not None:
            assert fault.at.time_s is not None
            entry = QueuedFault(fault, self._order(), is_drawn=True)
            heappush(self._seconds, (fault.at.time_s, entry.order, entry))

    def _add(self, entry: QueuedFault) -> None:
        at, fault = entry.fault.at, entry.fault
        if fault.after and entry.cause is None:
            self._children.setdefault(fault.after.id, []).append(entry)
        elif at.recurs:
            self._recur(entry)
        elif at.phase and at.phase not in STEP_PHASES:
            self._boundaries.add(entry)
        elif at.step is None and at.time_s is not None:
            heappush(self._seconds, (at.time_s, entry.order, entry))
        elif self._attempt < fault.attempts.first:
            self._later.append(entry)
        elif at.step is None and at.phase:
            entry.due_life = self._life + at.count
            heappush(self._lives, (entry.due_life + share_of(entry), entry.order, entry))
        else:
            heappush(self._steps, (self._step_of(entry) + share_of(entry), entry.order, entry))

    def _step_of(self, entry: QueuedFault) -> int:
        """The step in which a fault strikes that names one, or no moment at all: then the attempt's first."""
        at = entry.fault.at
        if at == At():
            return self._first_step + 1
        return (at.step or 1) + (at.count - 1 if at.phase else 0)

    def _recur(self, entry: QueuedFault) -> None:
        """Queue the next recurrence of a fault that recurs."""
        at, number = entry.fault.at, entry.recurrence
        entry.recurrence += 1
        if at.every is not None and at.every.steps is not None:
            entry.due_life += at.every.steps
        elif at.every is not None:
            assert at.every.seconds is not None
            entry.due_s += at.every.seconds
        else:
            seed = fault_seed(entry.fault, self._run.noise_seed)
            draw = float(noise.uniform(seed, "recurs", number)[0])
            if at.mtti_s is not None:
                entry.due_s += -math.log(draw) * at.mtti_s
            elif at.chance is not None:
                entry.due_life += 1 if at.chance >= 1.0 else 1 + int(math.log(draw) / math.log1p(-at.chance))
        if entry.due_life:
            heappush(self._lives, (entry.due_life + share_of(entry), entry.order, entry))
        else:
            heappush(self._seconds, (entry.due_s, entry.order, entry))

    # --- Attempts -------------------------------------------------------------------------------

    def begin_attempt(self, number: int, pace: Pace) -> None:
        """Begin attempt ``number``, whose times are those of ``pace``."""
        self._attempt, self._pace, self._first_step = number, pace, pace.first_step
        later, self._later = self._later, []
        for entry in later:
            self._add_again(entry)
        self._boundaries.begin_attempt(number, pace)

    def _add_again(self, entry: QueuedFault) -> None:
        """Queue a fault that has waited for another attempt; one whose second has passed strikes as soon as it may."""
        at = entry.fault.at
        names_step = at.step is not None or (at.time_s is None and not at.phase)
        is_past = names_step and self._step_of(entry) <= self._first_step
        if self._attempt < entry.fault.attempts.first:
            self._later.append(entry)
        elif entry.cause or (is_past and at.time_s is not None and not entry.recurrence):
            heappush(self._seconds, (entry.due_s or at.time_s or 0.0, entry.order, entry))
        elif is_past:
            self._later.append(entry)
        else:
            self._add(entry)

    def end_attempt(self, first_step: int, completed: int, ended_s: float) -> None:
        """Count the steps and the phases of the attempt, which ends at a second."""
        self._life += completed - first_step
        self._boundaries.end_attempt(completed, ended_s)

    # --- The next strike ------------------------------------------------------------------------

    def pop(self) -> Moment | None:
        """The next strike of the present attempt; None if none comes before its end."""
        while True:
            found = min(self._heads(), key=lambda head: (head[0].second, head[0].entry.order), default=None)
            if found is None:
                return None
            moment, take = found
            take()
            if self._is_due(moment):
                return moment

    def _heads(self) -> Iterator[tuple[Moment, Take]]:
        """The next moment of each queue, and the function that takes it from there."""
        pace, last = self._pace, self._run.last_step
        while self._steps and int(self._steps[0][0]) <= pace.first_step:
            self._later.append(heappop(self._steps)[2])  # passed over in this attempt
        if self._steps and (step := int(self._steps[0][0])) <= last:
            yield in_step(pace, self._steps[0][2], step), partial(heappop, self._steps)
        if self._lives:
            step = max(int(self._lives[0][0]) - self._life, 1) + pace.first_step
            if step <= last:
                yield in_step(pace, self._lives[0][2], step), partial(heappop, self._lives)
        if (found := self._earliest_by_second()) is not None:
            yield found
        if (between := self._boundaries.head()) is not None:
            yield between, self._boundaries.pop

    def _earliest_by_second(self) -> tuple[Moment, Take] | None:
        """The earliest moment of those that wait for a second.

        One that has to wait longer, for a phase or for the attempt to begin, lets later ones strike before it.
        """
        last, looked_at = self._run.last_step, list[tuple[float, int, QueuedFault]]()
        found: Moment | None = None
        while self._seconds and self._seconds[0][0] <= (found.second if found else self._pace.end_s(last)):
            item = heappop(self._seconds)
            moment = at_second(self._pace, item[2], item[0])
            if moment.step > last:
                self._later.append(item[2])  # no step is left for it in this attempt
                continue
            looked_at.append(item)
            if found is None or (moment.second, moment.entry.order) < (found.second, found.entry.order):
                found = moment
        for item in looked_at:
            heappush(self._seconds, item)
        return (found, partial(self._remove, found.entry)) if found else None

    def _remove(self, entry: QueuedFault) -> None:
        """Remove a fault from those that wait for a second."""
        if self._seconds[0][2] is entry:
            heappop(self._seconds)
            return
        self._seconds = [item for item in self._seconds if item[2] is not entry]
        heapify(self._seconds)

    def _is_due(self, moment: Moment) -> bool:
        """True if the popped fault strikes now; otherwise it is queued again where it may."""
        entry, fault, at = moment.entry, moment.fault, moment.fault.at
        if entry.is_drawn:
            self._draw()
            return at.time_s is not None and at.time_s >= self._pace.begin_s(self._pace.first_step + 1)
        early = (at.step is not None and moment.step < at.step) or (at.time_s is not None and moment.second < at.time_s)
        if at.recurs:
            in_pause = not entry.due_life and entry.due_s < self._pace.begin_s(self._pace.first_step + 1)
            if early or in_pause or self._attempt not in fault.attempts:
                self._recur(entry)
                return False
            return True
        if early:
            if at.time_s is not None and moment.second < at.time_s:
                heappush(self._seconds, (at.time_s, entry.order, entry))
            else:
                heappush(self._steps, (self._step_of(entry) + share_of(entry), entry.order, entry))
            return False
        if self._attempt not in fault.attempts:
            if self._attempt < fault.attempts.first:
                self._later.append(entry)
            return False
        return True

    def after_strike(self, moment: Moment, strike: Occurrence, count: int) -> None:
        """Queue what follows from a strike, which was number ``count`` of its fault: cascades, and its next time."""
        for child in self._children.get(strike.fault.id, ()):
            after, times = child.fault.after, child.fault.times
            if after and (times is None or child.recurrence < times):
                child.recurrence += 1
                due_s = strike.second + after.delay_s
                entry = QueuedFault(child.fault, self._order(), cause=strike.fault.id, due_s=due_s)
                if child.fault.at.phase and child.fault.at.phase not in STEP_PHASES:
                    self._boundaries.add(entry)
                else:
                    heappush(self._seconds, (due_s, entry.order, entry))
        entry, at, times = moment.entry, strike.fault.at, strike.fault.times
        if entry.is_drawn or entry.cause or (times is not None and count >= times):
            return
        if at.recurs:
            self._recur(entry)
            return
        entry.recurrence += 1
        if at.phase and at.phase not in STEP_PHASES:
            self._boundaries.add(entry)
        elif at.step is None and at.phase:
            made = self._life + moment.step - self._first_step  # without the step that a strike interrupts
            entry.due_life = made if strike.ending else made + 1
            heappush(self._lives, (entry.due_life + share_of(entry), entry.order, entry))
        else:  # a single moment comes once in an attempt: a step as it is made again, a time as the next one begins
            self._later.append(entry)
