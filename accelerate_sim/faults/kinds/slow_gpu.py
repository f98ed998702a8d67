"""A GPU that is slow: what all wait for, and what its clocks, temperature, power and violation counters then show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accelerate_sim.faults.kind import Key
from accelerate_sim.faults.kinds.xid_strike import gpu_labels, metric
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.gpu_condition import BRAKE, HW_THERMAL, POWER_CAP, SLOWDOWN, THERMAL, Condition

KEYS: Mapping[str, Key] = {
    "factor": Key("float", 1.3, "Time of its computing over the usual.", least=1.0, most=1000.0),
    "why": Key("word", "unknown", "Cause, which decides what monitoring shows.",
               ("thermal", "power", "brake", "cpu", "unknown")),
}  # fmt: skip
REASONS = {"thermal": THERMAL, "power": POWER_CAP, "brake": SLOWDOWN | BRAKE}
"""Reasons of the clocks for each cause that the GPU reports."""
HARD_FACTOR = 1.5
"""Slowdown from which heat is the hardware's to act on, which halves the clock."""
COUNTERS = {"thermal": "thermal_us", "power": "power_us", "brake": "brake_us"}
VIOLATIONS = {
    "thermal": "DCGM_FI_DEV_THERMAL_VIOLATION", "power": "DCGM_FI_DEV_POWER_VIOLATION",
    "brake": "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION",
}  # fmt: skip


def _factor(strike: Occurrence) -> float:
    factor = strike.fault["factor"]
    assert isinstance(factor, float)
    return factor


def slow_pace(strike: Occurrence) -> float:
    """Step time over the usual: all ranks wait for the slow one."""
    return 1.0 + (_factor(strike) - 1.0) * strike.run.compute_share


def slowed(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    """The condition of a slow GPU; a slow host (``cpu``) leaves its clocks alone."""
    why, factor = str(strike.fault["why"]), _factor(strike)
    lasted_s = max(0.0, min(after_s, strike.end_s - strike.second))
    if name := COUNTERS.get(why):
        now = now._replace(**{name: getattr(now, name) + round(1e6 * lasted_s)})
    if strike.second + after_s >= strike.end_s or why == "cpu":
        return now
    ramp_s = strike.ramp_steps * strike.run.mean_step_s
    share = 1.0 if not ramp_s else min(1.0, after_s / ramp_s)
    reasons = REASONS.get(why, 0)
    if why == "thermal" and factor >= HARD_FACTOR:
        reasons = SLOWDOWN | HW_THERMAL
    return now._replace(
        reasons=now.reasons | reasons,
        speed=now.speed / (1.0 + (factor - 1.0) * share),
        heat=max(now.heat, share) if why == "thermal" else now.heat,
    )


def expect_slow(strike: Occurrence) -> Mapping[str, Any]:
    """The counter of violations rises for causes that the GPU reports."""
    name = VIOLATIONS.get(str(strike.fault["why"]))
    length_s = strike.end_s - strike.second
    if name is None or not (length_s >= 1.0 or math.isinf(length_s)):
        return {"metrics": []}
    return {"metrics": [metric(name, gpu_labels(strike, rank), ">", 0) for rank in strike.hit.ranks]}
