"""``SlowedTime``: the time in which heat or the server's power brake held the clocks of a GPU down."""

from __future__ import annotations

from typing import NamedTuple

from accelerate_sim.gpu_condition import Condition
from accelerate_sim.sim.run import Run

MARGIN_C = 3.0
"""A slowed GPU this close to its limit, or above, is slowed by heat; a cooler one by its server."""


class SlowedTime(NamedTuple):
    """The driver's counters of slowed clocks, in microseconds."""

    thermal_us: int = 0
    braked_us: int = 0
    capped_us: int = 0
    """Time in which a power limit held the clocks down."""

    def plus(self, condition: Condition) -> SlowedTime:
        """The counters with the time that faults add."""
        if not (condition.thermal_us or condition.brake_us or condition.power_us):
            return self
        return SlowedTime(
            self.thermal_us + condition.thermal_us,
            self.braked_us + condition.brake_us,
            self.capped_us + condition.power_us,
        )


def is_thermal(run: Run, temperature_c: float) -> bool:
    """True if heat slows a GPU of this temperature, as in the job's own warning."""
    return temperature_c > run.gpu.slowdown_temperature_c - MARGIN_C


def slowed_times(run: Run, second: float, step: int) -> dict[int, SlowedTime]:
    """The counters of each rank that has been slowed, at a second in which ``step`` is under way."""
    times: dict[int, SlowedTime] = {}
    for incident in run.incidents.during(0, step):
        if incident.kind != "hot":
            continue
        begin_s = run.timeline.step_end_s(incident.start - 1) if incident.start > 0 else 0.0
        end_s = min(second, run.timeline.step_end_s(min(incident.stop - 1, step)))
        noticed_s = run.timeline.step_end_s(min(incident.noticed, step))
        sample = run.telemetry.sample(min(noticed_s, second), min(incident.noticed, step))
        spent_us = round(1e6 * max(end_s - begin_s, 0.0))
        before = times.get(incident.rank, SlowedTime())
        if is_thermal(run, float(sample.temperature_c[incident.rank])):
            times[incident.rank] = before._replace(thermal_us=before.thermal_us + spent_us)
        else:
            times[incident.rank] = before._replace(braked_us=before.braked_us + spent_us)
    return times
