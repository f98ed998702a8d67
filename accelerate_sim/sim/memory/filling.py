"""Memory in use at each second of a run, as a share of its final value.

The context comes first, then weights as they are loaded, and NCCL's buffers when ranks connect. Activations, gradients
and the optimizer's state appear in the course of the first step. The allocator frees nothing until the process ends.
"""

from collections.abc import Sequence

import numpy as np

from accelerate_sim.sim.memory.memory import MemoryUse
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.startup import StartUp
from accelerate_sim.sim.timeline import Timeline

DRIVER_BYTES = 4 * 2**20
"""Memory in use without any process."""
BARE_CONTEXT_SHARE = 0.2
"""Share of the context in memory outside the allocator; NCCL's channels and libraries' workspaces are the rest."""
LINGERING_S = 5.0
"""Time that a process takes to end after the export."""
FIRST_STEP_CACHE = 0.95
"""Share in use after the first step; each further step leaves a third of what is missing."""
OPTIMIZER_AT = 0.96
"""Share of the first step after which the optimizer makes its moments."""


class MemoryFilling:
    """The filling of the GPUs of each pipeline stage, whose peak memory is ``uses``."""

    def __init__(self, uses: Sequence[MemoryUse], startup: StartUp, timeline: Timeline, micro_batches: int) -> None:
        self.peak_bytes = np.array([use.total for use in uses])
        shares = {
            part: np.array([getattr(use, part) for use in uses]) / self.peak_bytes
            for part in ("context", "weights", "gradients", "working", "in_flight", "optimizer")
        }
        self._context, self._weights, self._optimizer = shares["context"], shares["weights"], shares["optimizer"]
        self._backward = shares["gradients"] + shares["working"] + shares["in_flight"]
        self._startup, self._timeline, self._micro_batches = startup, timeline, micro_batches

    def share(self, second: float, step: int) -> Floats | float:
        """Return the share of each stage, or one number for all; ``step`` (from 0) is the latest that has begun."""
        if second < 0.0:
            return self._while_starting(second + self._startup.total)
        if step == 0 and second < (end_s := self._timeline.step_end_s(0)):
            return self._in_first_step(second / end_s)
        if self._timeline.phase_at(second) == "idle":
            lingers = self._timeline.phase_at(second - LINGERING_S) != "idle"
            return self._context if lingers else DRIVER_BYTES / self.peak_bytes
        return cache_filled(step)

    def _while_starting(self, since_s: float) -> Floats:
        """Return the shares ``since_s`` after the process was started."""
        if since_s < 0.0:
            return np.asarray(DRIVER_BYTES / self.peak_bytes)
        times = self._startup
        connecting_s = since_s - times.weights - times.tokenizer - times.dataset
        loaded = _part(since_s, 0.0, times.weights)
        connected = _part(connecting_s, 0.0, times.connect + times.all_reduce_test)
        context = BARE_CONTEXT_SHARE + (1.0 - BARE_CONTEXT_SHARE) * connected
        return np.asarray(self._context * context + self._weights * loaded)

    def _in_first_step(self, done: float) -> Floats:
        """Return the shares when this share of the first step is over."""
        first = 1.0 / self._micro_batches
        loaded = self._context + self._weights
        forward = np.maximum(1.0 - loaded - self._backward - self._optimizer, 0.0)
        new = (
            forward * _part(done, 0.0, first / 3)
            + self._backward * _part(done, first / 3, first)
            + self._optimizer * _part(done, OPTIMIZER_AT, 1.0 - (1.0 - OPTIMIZER_AT) / 2)
        )
        # Of what comes in this step, all but the last bit of the cache.
        return np.asarray(loaded + new * (FIRST_STEP_CACHE - loaded) / (1.0 - loaded))


def cache_filled(step: int) -> float:
    """Return the share of its final memory that a GPU uses after this step."""
    return 1.0 - (1.0 - FIRST_STEP_CACHE) * 0.3 ** min(max(step, 0), 20)


def _part(value: float, begin: float, end: float) -> float:
    """Return the place of ``value`` between ``begin`` and ``end``, from 0 to 1."""
    return min(max((value - begin) / (end - begin), 0.0), 1.0) if end > begin else float(value >= begin)
