"""The timers inside a step that Megatron-LM logs with ``--timing-log-level`` 1 and 2, for every rank.

Names, order and nesting are those of the modules training, schedules, p2p_communication, finalize_model_grads and
optimizer at core 0.15.0 and 0.19.0: ``forward-backward`` holds the passes, the waits between stages and
``all-grads-sync``; ``optimizer`` holds the timers that begin with it and ``params-all-gather``; the two make an
iteration but for a few milliseconds. The seconds are parts of the run's own steps. Ranks differ as the run's ranks do:
by their stage, and by how much earlier than the slowest rank they are done. How the optimizer's time is shared out
among its parts is an estimate from the bytes that each moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from accelerate_sim.records import StepRecord
from accelerate_sim.sim.disturbances.rank_moments import data_waits_s, leads_s
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.speed.step_parts import StepParts

LEVEL_1 = (
    "forward-backward", "embedding-grads-all-reduce", "all-grads-sync", "params-all-gather",
    "optimizer-copy-to-main-grad", "optimizer-unscale-and-check-inf", "optimizer-clip-main-grad",
    "optimizer-count-zeros", "optimizer-inner-step", "optimizer-copy-main-to-model-params", "optimizer",
)  # fmt: skip
LEVEL_2 = (
    "batch-generator", "forward-compute", "backward-compute", "forward-recv", "forward-send", "backward-recv",
    "backward-send", "forward-send-forward-recv", "forward-send-backward-recv", "backward-send-forward-recv",
    "backward-send-backward-recv",
)  # fmt: skip
"""Timers of each level, in the order in which they are logged; those that never run are left out."""
TOGETHER = ("forward-backward", "optimizer")
"""Timers that all ranks leave together, as the last thing in them is a collective."""
OUTSIDE_S = 0.003
"""Seconds of a step in neither forward-backward nor optimizer: gradients are zeroed, losses are reduced."""
LAUNCHED_S = 2e-5
"""Seconds of a timer around work that is only launched, or that there is none of."""
OPTIMIZER_BYTES = {
    "optimizer-unscale-and-check-inf": 8.0, "optimizer-clip-main-grad": 12.0, "optimizer-inner-step": 28.0,
    "optimizer-copy-main-to-model-params": 6.0,
}  # fmt: skip
"""Bytes that each part of AdamW's step moves for a parameter; the first part runs in fp16 alone."""


class PhaseTimers:
    """The sums of the timers up to ``level`` over the iterations since they were logged, in seconds of each rank."""

    def __init__(self, plan: Plan, level: int) -> None:
        self.run = Run.of(plan)
        self.ranks = np.arange(plan.layout.world_size)
        self._names = LEVEL_1 + (LEVEL_2 if level > 1 else ())
        self._of_stage: dict[int, Mapping[str, Floats]] = {}
        self.reset()

    def reset(self) -> None:
        """Begin the sums anew."""
        self.sums: dict[str, Floats] = {}

    def add(self, record: StepRecord) -> None:
        """Add the seconds of a step."""
        run, index, step_s = self.run, record.step - 1, record.step_time_s
        stage = run.batches.number_at(index)
        if stage not in self._of_stage:
            self._of_stage[stage] = mean_seconds(run, stage)
        parts = self._of_stage[stage]
        # The optimizer takes as long as ever: what makes an iteration longer or shorter is in the passes.
        passes = parts["forward-backward"]
        stretch = np.maximum(1.0 + (step_s - run.stage_step_s(stage)) / passes, 0.05)
        early = 1.0 - leads_s(run.noise_seed, run.incidents, index, self.ranks, step_s) / step_s
        for name, seconds in self._in_step(parts, index):
            taken = seconds if name.startswith(("optimizer", "params")) else seconds * stretch
            taken = taken * (0.99 + 0.01 * early if name in TOGETHER else early)
            self.sums[name] = self.sums.get(name, 0.0) + taken

    def _in_step(self, parts: Mapping[str, Floats], index: int) -> Iterator[tuple[str, Floats]]:
        for name in self._names:
            if name == "batch-generator":  # a part of forward-compute
                waits = data_waits_s(self.run.noise_seed, index, self.ranks, self.run.accumulation(index))
                yield name, np.minimum(waits, parts["forward-compute"] / 2.0)
            elif name in parts:
                yield name, parts[name]


def mean_seconds(run: Run, number: int) -> Mapping[str, Floats]:
    """Seconds of each timer on each rank, in a mean step of a stage of the batch's ramp."""
    layout, parts = run.layout, run.stage_parts(number)
    unit = run.stage_step_s(number) / parts.total
    share = _share_of_gradients(run)
    micro_batches = run.accumulation(run.batches.stages[number].first_step)
    tied_s = run.throughput.tied_head_s()
    found = _optimizer(run, parts, share)
    inside = max(parts.total - OUTSIDE_S, 0.9 * parts.total) - found["optimizer"]
    sync = parts.data_comm - tied_s
    gathered = 0.0 if "params-all-gather" in found else (1.0 - share) * sync
    ends = np.zeros(layout.pipeline)
    ends[[0, -1]] = tied_s
    rows = {name: np.full(layout.pipeline, seconds) for name, seconds in found.items()}
    rows["forward-backward"] = np.full(layout.pipeline, inside)
    rows["all-grads-sync"] = np.full(layout.pipeline, share * sync + LAUNCHED_S)
    rows["embedding-grads-all-reduce"] = ends + LAUNCHED_S
    rows |= _passes(run, parts, micro_batches, gathered)
    stages = np.asarray(layout.stage(np.arange(layout.world_size)))
    return {name: row[stages] * unit for name, row in rows.items()}


def _share_of_gradients(run: Run) -> float:
    """Share of the time for what replicas exchange that is for gradients; the rest is for weights."""
    if run.layout.sharding == "ddp":
        return 1.0
    replicas = run.throughput.replicas
    return replicas.gradient_bytes / (replicas.gradient_bytes + replicas.weight_bytes)


def _optimizer(run: Run, parts: StepParts, share: float) -> dict[str, float]:
    """Seconds of the optimizer's timers; weights are gathered in it unless that overlaps with the forward pass."""
    moved = dict(OPTIMIZER_BYTES)
    if run.config.train.precision != "fp16":
        del moved["optimizer-unscale-and-check-inf"]
    whole = sum(moved.values())
    found = {name: parts.optimizer * size / whole + LAUNCHED_S for name, size in moved.items()}
    found |= {"optimizer-copy-to-main-grad": 2 * LAUNCHED_S, "optimizer-count-zeros": LAUNCHED_S / 4}
    if run.method.stack.overlap in ("serial", "none") and run.layout.sharding != "ddp":
        found["params-all-gather"] = (1.0 - share) * parts.data_comm
    return found | {"optimizer": sum(found.values()) + 2 * LAUNCHED_S}


def _passes(run: Run, parts: StepParts, micro_batches: int, gathered: float) -> dict[str, Floats]:
    """Seconds of the timers inside forward-backward, by stage.

    Of interleaved stages the exchanges overlap: their timers hold the launches, and the waits are in no timer.
    """
    layout, throughput = run.layout, run.throughput
    forward, backward = throughput.layer().total, throughput.backward_layer().total
    again = parts.recompute
    once = (
        parts.matmul + parts.attention + parts.elementwise + parts.tensor_comm + parts.context_comm
        + parts.expert_comm + parts.launch
    )  # fmt: skip
    ahead = once * forward / (forward + backward)
    back = once - ahead + again
    shares: Floats = np.array(throughput.stage_shares(), dtype=np.float64)
    found = {"forward-compute": ahead * shares + gathered, "backward-compute": back * shares}
    if layout.pipeline == 1:
        return found
    last = layout.pipeline - 1
    stages: Floats = np.arange(layout.pipeline, dtype=np.float64)
    each = parts.pipeline_bubble / last
    each_ahead, each_back = each * ahead / (ahead + back), each * back / (ahead + back)
    if layout.virtual_stages > 1:
        launches = micro_batches * layout.virtual_stages * LAUNCHED_S
        found["forward-recv"] = stages * each_ahead
        found["backward-recv"] = (last - stages) * each_back
        found["forward-send-forward-recv"] = found["backward-send-backward-recv"] = np.full(last + 1, launches)
        return found
    hop = parts.pipeline_comm / (2 * micro_batches)
    warming: Floats = np.minimum(last - stages, float(micro_batches))
    steady = micro_batches - warming
    behind, before = stages > 0, stages < last
    idle = (ahead + back) * (1.0 - shares)
    found["forward-recv"] = behind * (stages * each_ahead + (warming + (steady > 0)) * hop)
    found["forward-send"] = before * warming * hop
    found["backward-recv"] = before * ((last - stages) * each_ahead + warming * hop)
    found["backward-send"] = behind * (warming + (steady > 0)) * hop
    found["forward-send-backward-recv"] = before * ((last - stages) * each_back + steady * hop + idle)
    found["backward-send-forward-recv"] = behind * (np.maximum(steady - 1, 0) * hop + ~before * idle)
    return found
