"""Finds layouts one or two settings away from a run's, on the same machines: the faster ones, else the nearest."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.checks.facts import divisors
from accelerate_sim.sim.memory.fit import ROOM, Changes, changed, settings, without_share
from accelerate_sim.sim.memory.memory import stage_layers
from accelerate_sim.sim.plan import Plan

SHOWN = 3
LEAST_GAIN = 1.02
"""Speed over the present one from which a change is proposed."""
WORTH_A_KEY = 1.03
"""Speed over that of each single change from which a pair of changes is proposed."""
SHARE_STEP = 0.1
"""Steps by which the recomputed share of a layer's forward pass is varied."""


@dataclass(frozen=True)
class Alternative:
    """A layout near that of the run."""

    changes: Changes
    speed: float
    """Tokens per second over those of the run's own layout."""
    tokens_per_s: float
    memory_bytes: float

    @property
    def about(self) -> frozenset[str]:
        """Keys that it changes; the kind of recomputation and its share count as one."""
        return frozenset(key.removesuffix("_share") for key in self.changes)

    @property
    def text(self) -> str:
        """The settings that lead to it."""
        return " and ".join(settings(self.changes))


def near_layouts(run: Plan) -> list[Alternative]:
    """Up to three layouts that fit the memory, the fastest first, without duplicates.

    Layouts that are faster come before single changes that cost least. Empty if the step time is imposed.
    """
    if run.config.impose.step_time_s:
        return []
    axes = list(_axes(run))
    singles = {axis: [one for changes in values if (one := _tried(run, changes))] for axis, values in axes}
    worth = [one for found in singles.values() for one in found if one.speed >= LEAST_GAIN]
    worth += _pairs_worth_it(run, singles, axes)
    worth.sort(key=lambda one: one.speed / WORTH_A_KEY ** (len(one.about) - 1), reverse=True)
    best: dict[frozenset[str], Alternative] = {}
    for one in worth:
        best.setdefault(one.about, one)
    shown = list(best.values())[:SHOWN]
    # Of settings that are not worth a proposal, the best value of each.
    others = [max(found, key=lambda one: one.speed) for found in singles.values() if found]
    rest = [one for one in others if one.about not in {other.about for other in shown}]
    shown += sorted(rest, key=lambda one: one.speed, reverse=True)[: SHOWN - len(shown)]
    return sorted(shown, key=lambda one: one.speed, reverse=True)


def _pairs_worth_it(
    run: Plan, singles: dict[str, list[Alternative]], axes: list[tuple[str, list[Changes]]]
) -> Iterator[Alternative]:
    """Pairs of changes that are faster than each of the two alone, if that one is possible alone."""
    alone = {one.text: one.speed for found in singles.values() for one in found}
    moves = [(axis, changes) for axis, values in axes for changes in values]
    for (axis, first), (other_axis, second) in combinations(moves, 2):
        if axis == other_axis or not (both := _tried(run, {**first, **second})):
            continue
        bar = max(1.0, *(alone.get(" and ".join(settings(changes)), 0.0) for changes in (first, second)))
        if both.speed >= WORTH_A_KEY * bar:
            yield both


def _tried(run: Plan, changes: Changes) -> Alternative | None:
    """The layout with these changes; None if keys disagree, memory does not suffice, or nothing differs."""
    config = changed(run.config, changes)
    if conflicts(config):
        return None
    other = Plan(config)
    if other.memory.least > ROOM * run.gpu.memory_bytes:
        return None
    if other.step_parts == run.step_parts and other.memory == run.memory:
        return None
    tokens, seconds = other.layout.tokens_per_step, other.step_parts.total
    return Alternative(changes, run.step_parts.total / seconds, tokens / seconds, other.memory.total)


def _axes(run: Plan) -> Iterator[tuple[str, list[Changes]]]:
    """Settings that can be changed on the same machines with the same batch, and their values."""
    layout, model = run.layout, run.model.architecture
    # Tensor parallelism across the network is proposed only to a run that has it already.
    inside = [size for size in _near(layout.tensor) if size <= max(layout.tensor, layout.nvlink_domain)]
    sizes = {"train.micro_batch": _near(layout.micro_batch), "parallel.tensor": inside}
    sizes["parallel.pipeline"] = _near(layout.pipeline)
    if layout.pipeline > 1:
        sizes["parallel.virtual_stages"] = _near_chunks(layout.virtual_stages, stage_layers(model, layout))
    if layout.context > 1:
        sizes["parallel.context"] = [layout.context // 2]
    if model.moe:
        sizes["parallel.expert"] = _near(layout.expert)
    for key, values in sizes.items():
        yield key, [{key: size} for size in values]
    yield "parallel.sharding", [{"parallel.sharding": how} for how in ("zero1", "fsdp") if how != layout.sharding]
    yield "train.recompute", list(_recomputing(run))


def _recomputing(run: Plan) -> Iterator[Changes]:
    """Other kinds of recomputation; and if the config sets a share, the default of its kind and shares near it."""
    train = run.config.train
    share = train.recompute_share
    for how in ("none", "selective", "full"):
        if how != train.recompute:
            yield {"train.recompute": how, **without_share(run.config)}
    if share:
        yield {"train.recompute_share": None}
        for near in (share - SHARE_STEP, share + SHARE_STEP):
            if 0 < near <= 1:
                yield {"train.recompute_share": round(near, 6)}


def _near(size: int) -> list[int]:
    return [2 * size] if size == 1 else [size // 2, 2 * size]


def _near_chunks(chunks: int, layers: int) -> list[int]:
    """Numbers of chunks of a stage: the nearest divisors of its layers, half and double, and common values."""
    whole = divisors(layers)
    below = [size for size in whole if size < chunks][-1:]
    above = [size for size in whole if size > chunks][:1]
    return sorted({1, 2, 4, *_near(chunks), *below, *above} - {chunks})
