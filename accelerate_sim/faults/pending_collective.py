"""``PendingCollective``: the collective in which a rank waits when a fault strikes, as torch's watchdog names it.

Sharded training gathers the weights of each layer before its forward and backward pass, and scatters the sums of its
gradients; other training sums gradients in buckets of 25 MiB. Both end a step with one number, the gradients' norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from accelerate_sim.faults.triggers import STEP_PHASES

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Occurrence

BUCKET_BYTES = 25 << 20
GRADIENT_BYTES = 2
PLACES = {"forward": 0.0, "backward": 0.35, "allreduce": 0.85, "optimizer": 1.0}
"""Share of a step's collectives that are complete in each of its phases."""


class PendingCollective(NamedTuple):
    """A collective that never completes. ``seq`` counts those of the default group from 1."""

    seq: int
    op: str
    numel_in: int
    numel_out: int


def pending_in(strike: Occurrence) -> PendingCollective:
    """The collective that is under way at a strike; before the first step it is the test of the connections."""
    if strike.phase not in STEP_PHASES:
        return PendingCollective(max(_per_step(strike) * (strike.step - 1), 1), "ALLREDUCE", 1, 1)
    per_step = _per_step(strike)
    before = per_step * (strike.step - 1)
    if strike.phase == "optimizer":
        return PendingCollective(before + per_step, "ALLREDUCE", 1, 1)
    seq = before + 1 + int(PLACES[strike.phase] * (per_step - 1))
    run = strike.run
    if run.layout.sharding != "fsdp":
        numel = min(BUCKET_BYTES // GRADIENT_BYTES, _parameters(strike))
        return PendingCollective(seq, "ALLREDUCE", numel, numel)
    shards = max(run.layout.data, 1)
    shard = -(-_parameters(strike) // run.model.architecture.layers // shards)
    if strike.phase == "forward":
        return PendingCollective(seq, "_ALLGATHER_BASE", shard, shard * shards)
    return PendingCollective(seq, "_REDUCE_SCATTER_BASE", shard * shards, shard)


def _per_step(strike: Occurrence) -> int:
    run = strike.run
    if run.layout.sharding == "fsdp":
        return 3 * (run.model.architecture.layers + 1) * run.layout.accumulation + 1
    return -(-_parameters(strike) * GRADIENT_BYTES // BUCKET_BYTES) + 1


def _parameters(strike: Occurrence) -> int:
    """Parameters of which a rank computes gradients."""
    run = strike.run
    return max(run.model.architecture.parameters // (run.layout.tensor * run.layout.pipeline), 1)
