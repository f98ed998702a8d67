"""The table of all kinds of fault. A family is one module with a tuple ``KINDS``; each kind is one entry of it."""

from __future__ import annotations

from collections.abc import Mapping

from accelerate_sim.faults.kind import FaultKind
from accelerate_sim.faults.kinds import clock, data, gpus, link, mismatch, network, processes, storage, training

FAMILIES = (processes, gpus, link, network, training, storage, data, clock, mismatch)

KINDS: Mapping[str, FaultKind] = {kind.name: kind for family in FAMILIES for kind in family.KINDS}
"""Every kind by its name."""
