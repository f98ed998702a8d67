"""Layouts near a run's own that would train faster on the same machines: one or two keys changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from accelerate_sim.config.layout import conflicts
from accelerate_sim.sim.fit import ROOM, Changes, changed
from accelerate_sim.sim.plan import Plan

SHOWN = 3
LEAST_GAIN = 1.02
"""Speed over the present one from which a change is worth a word."""
WORTH_A_KEY = 1.03
"""What a second change has to bring over the best single one."""


@dataclass(frozen=True)
class Alternative:
    """A layout that is near."""

    changes: Changes
    tokens_per_s: float
    memory_bytes: float

    @property
    def text(self) -> str:
        """The settings that make it."""
        return " and ".join(f"{key}={value}" for key, value in self.changes.items())


def faster_layouts(run: Plan) -> list[Alternative]:
    """The fastest of the near layouts that fit, at most one for each set of keys; none if the step time is imposed."""
    if run.config.impose.step_time_s:
        return []
    least = LEAST_GAIN * run.layout.tokens_per_step / run.step_parts.total
    found = [one for changes in _candidates(run) if (one := _tried(run, changes)) and one.tokens_per_s >= least]
    found.sort(key=lambda one: one.tokens_per_s / WORTH_A_KEY ** (len(one.changes) - 1), reverse=True)
    best: dict[frozenset[str], Alternative] = {}
    for one in found:
        best.setdefault(frozenset(one.changes), one)
    return sorted(list(best.values())[:SHOWN], key=lambda one: one.tokens_per_s, reverse=True)


def _tried(run: Plan, changes: Changes) -> Alternative | None:
    """The layout with these changes; None if keys would disagree or memory would not do."""
    config = changed(run.config, changes)
    if conflicts(config):
        return None
    other = Plan(config)
    if other.memory.least > ROOM * run.gpu.memory_bytes:
        return None
    return Alternative(changes, other.layout.tokens_per_step / other.step_parts.total, other.memory.total)


def _candidates(run: Plan) -> Iterator[Changes]:
    """One change, then two."""
    single = [(key, value) for key, values in _axes(run) for value in values]
    yield from ({key: value} for key, value in single)
    yield from ({one[0]: one[1], two[0]: two[1]} for one, two in combinations(single, 2) if one[0] != two[0])


def _axes(run: Plan) -> Iterator[tuple[str, list[Any]]]:
    """What can be changed on the same machines, for the same batch, and to what."""
    layout, config = run.layout, run.config
    yield "train.micro_batch", _near(layout.micro_batch)
    yield "parallel.tensor", _near(layout.tensor)
    yield "parallel.pipeline", _near(layout.pipeline)
    if layout.pipeline > 1 or layout.virtual_stages > 1:
        yield "parallel.virtual_stages", [size for size in (1, 2, 4) if size != layout.virtual_stages]
    if layout.context > 1:
        yield "parallel.context", [layout.context // 2]
    if run.model.architecture.moe:
        yield "parallel.expert", _near(layout.expert)
    yield "parallel.sharding", [how for how in ("zero1", "fsdp") if how != layout.sharding]
    yield "train.recompute", [how for how in ("none", "selective", "full") if how != config.train.recompute]


def _near(size: int) -> list[int]:
    return [2 * size] if size == 1 else [size // 2, 2 * size]
