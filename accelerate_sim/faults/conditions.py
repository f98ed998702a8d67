"""``Conditions``: what is wrong with which GPU at which second. Everything that shows a GPU reads it from here.

It is a pure function of the attempts of a job: the strikes up to a second change the condition of the GPUs that they
hit, one after the other, and a GPU that needs a reset gets one while the job is down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.occurrence import Attempt, Occurrence
from accelerate_sim.gpu_condition import HEALTHY, Condition


class Conditions:
    """The conditions of the GPUs of a job, over its attempts up to one of them."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = [
            (attempt.start_s, [strike for strike in attempt.occurrences if KINDS[strike.fault.kind].telemetry])
            for attempt in attempts
        ]
        self._latest: tuple[float, Mapping[int, Condition]] | None = None

    def at(self, second: float) -> Mapping[int, Condition]:
        """The condition of each rank's GPU that is not healthy, at a second since the first step of the run."""
        if self._latest is None or self._latest[0] != second:
            self._latest = second, self._compute(second)
        return self._latest[1]

    def _compute(self, second: float) -> Mapping[int, Condition]:
        found: dict[int, Condition] = {}
        for number, (start_s, strikes) in enumerate(self._attempts):
            if number and start_s > second:
                break
            if number:
                found = {rank: _in_new_process(each) for rank, each in found.items()}
            for strike in strikes:
                if strike.second <= second or KINDS[strike.fault.kind].is_there_before:
                    _apply(strike, second, found)
        return {rank: each for rank, each in found.items() if each != HEALTHY}


def _in_new_process(now: Condition) -> Condition:
    """The condition of a GPU when the job starts again: it has been reset if it needed that."""
    return now.after_reset() if now.needs_reset else now._replace(idle=False)


def _apply(strike: Occurrence, second: float, found: dict[int, Condition]) -> None:
    telemetry = KINDS[strike.fault.kind].telemetry
    assert telemetry
    for rank in strike.hit.ranks:
        found[rank] = telemetry(strike, rank, found.get(rank, HEALTHY), second - strike.second)
