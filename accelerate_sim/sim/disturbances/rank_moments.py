"""The moments at which single ranks are done with a step, and how long they waited for data.

All ranks leave a step together, as the slowest one lets them. How much earlier the others are done is an assumption: a
few tenths of a per cent of the step for equal GPUs, plus the excess of an incident for all but the rank that has it.
"""

from __future__ import annotations

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.disturbances.incidents import Incidents
from accelerate_sim.sim.layout import Ranks
from accelerate_sim.sim.noise import Floats

SPREAD = 0.003
"""Scale of a rank's lead over the slowest one, as a share of the step's time."""
DATA_WAIT_S, DATA_SPREAD = 0.0015, 0.6
"""Median wait for a micro-batch that the loader has ready, and the deviation of its logarithm."""


def leads_s(seed: int, incidents: Incidents, step: int, ranks: Ranks, step_s: float) -> Floats:
    """Seconds by which each of ``ranks`` is done with ``step``, from 0, before the slowest rank."""
    present = incidents.during(step, step)
    worst = max((incident.excess(step) for incident in present), default=0.0)
    own = np.zeros(len(ranks))
    for incident in present:
        own = np.where(ranks == incident.rank, np.maximum(own, incident.excess(step)), own)
    shares = SPREAD * np.abs(noise.normal(seed, "lead", ranks, step))
    return np.asarray(step_s * (shares + worst - own) / (1.0 + worst))


def data_waits_s(seed: int, step: int, ranks: Ranks, micro_batches: int) -> Floats:
    """Seconds for which each of ``ranks`` waits for the micro-batches of ``step``, from 0."""
    deviations = noise.normal(seed, "data wait", ranks, step)
    return np.asarray(DATA_WAIT_S * micro_batches * np.exp(DATA_SPREAD * deviations))
