"""The check that a run's model fits its GPUs, and the changes that would make it fit."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.problems import Problem, shorten
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory.memory import MemoryUse, peak_memory_use
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.plan import Plan

ROOM = 0.97
"""Share of the memory that a way out may fill, as some GPUs hold a little more than the plan has."""
ALTERNATIVES = 3
MOST_NODES = 4096
COSTS = {
    "parallel.sharding": 1, "train.recompute": 1, "train.micro_batch": 1, "parallel.tensor": 1, "parallel.pipeline": 2,
    "cluster.nodes": 2,
}  # fmt: skip
"""Cost of a change, for each doubling: machines are expensive, and a deeper pipeline idles."""
RECOMPUTED_PARTS = (0.3, 0.6)
"""Shares of a layer's forward pass that are tried before all of it is computed again."""
RELATED = (
    "parallel.sharding", "parallel.tensor", "parallel.pipeline", "parallel.context", "parallel.expert",
    "parallel.virtual_stages", "cluster.gpu", "cluster.nodes", "cluster.gpus_per_node", "train.micro_batch",
    "train.global_batch", "train.sequence_length", "train.recompute", "train.recompute_share", "impose.memory_share",
)  # fmt: skip
"""Keys that memory depends on beside the model."""

Changes = dict[str, Any]


def misfit(run: Plan) -> Problem | None:
    """Return the problem with a model that needs more memory than a GPU has by more than the uncertainty of the need.

    None if it fits, if the uncertainty leaves room for that, or if memory is imposed.
    """
    need, have = run.memory.total, run.gpu.memory_bytes
    uncertainty = memory_uncertainty(run.model.architecture)
    if run.config.impose.memory_share or need <= (1 + uncertainty) * have:
        return None
    reason = f"{_too_much(run)}, more than the memory model's uncertainty of {uncertainty:.0%}"
    found = [
        f"{_text(changes)} ({_gib(size)} GiB, {_rate(run, changes):,.0f} tokens/s)" for changes, size in _ways_out(run)
    ]
    way_out = f"Would fit: {'; '.join(found)}." if found else "Use a smaller model or GPUs with more memory."
    return Problem.about("model", f"'{shorten(run.config.model_name)}'", reason, way_out, RELATED)


def tightness(run: Plan) -> str | None:
    """Return a warning about a model that may not fit: it needs more than a GPU has, within the uncertainty."""
    need, have = run.memory.total, run.gpu.memory_bytes
    uncertainty = memory_uncertainty(run.model.architecture)
    if run.config.impose.memory_share or not have < need <= (1 + uncertainty) * have:
        return None
    name = shorten(run.config.model_name)
    return f"{name} {_too_much(run)}, which is within the memory model's uncertainty of {uncertainty:.0%}: it may fit"


def memory_uncertainty(model: Architecture, constants: Mapping[str, float] | None = None) -> float:
    """Return the share by which a need for memory may be overestimated: larger for models with experts."""
    k = catalog.constants() if constants is None else constants
    return k[f"memory_uncertainty.{'experts' if model.moe else 'dense'}"]


def _too_much(run: Plan) -> str:
    need, have = run.memory.total, run.gpu.memory_bytes
    return (
        f"needs {_gib(need)} GiB on each {run.gpu.name}, which has {_gib(have)} GiB: {_gib(need - have)} GiB too much"
    )


def _ways_out(run: Plan) -> list[tuple[Changes, float]]:
    """Return the smallest changes that fit and keep all keys in agreement, each with the bytes then needed."""
    found: list[tuple[Changes, float]] = []
    for changes in _candidates(run):
        if any(earlier.items() <= changes.items() for earlier, _ in found) or _grows_only(changes, found):
            continue
        config = changed(run.config, changes)
        use = _memory(run.model.architecture, config, run.gpu)
        if use is None or use.least > ROOM * run.gpu.memory_bytes or conflicts(config):
            continue
        found.append((changes, use.total))
        if len(found) == ALTERNATIVES:
            break
    return found


def _grows_only(changes: Changes, found: list[tuple[Changes, float]]) -> bool:
    """Return True where a smaller change of the same keys was found already."""
    return any(earlier.keys() <= changes.keys() for earlier, _ in found)


def _candidates(run: Plan) -> list[Changes]:
    """Return combinations of changes, the cheapest first."""
    axes = _axes(run)
    ranked: list[tuple[int, Changes]] = []
    for steps in product(*(range(len(values) + 1) for _, values in axes)):
        changes: Changes = {}
        for (_, values), step in zip(axes, steps, strict=True):
            changes |= values[step - 1] if step else {}
        if changes:
            cost = sum(COSTS[key] * step for (key, _), step in zip(axes, steps, strict=True))
            ranked.append((cost, _with_batch(run.config, changes)))
    return [changes for _, changes in sorted(ranked, key=lambda candidate: candidate[0])]


def _axes(run: Plan) -> list[tuple[str, list[Changes]]]:
    """Return the keys that can be changed, each with its values, the nearest first."""
    parallel, train, cluster = run.config.parallel, run.config.train, run.config.cluster
    values: dict[str, list[Any]] = {
        "parallel.sharding": [] if parallel.sharding in ("fsdp", "zero3") else ["fsdp"],
        "train.micro_batch": [] if train.micro_batch == 1 else [1],
        "parallel.tensor": list(_doubled(parallel.tensor, min(8, cluster.gpus_per_node))),
        "parallel.pipeline": list(_doubled(parallel.pipeline, min(16, run.model.architecture.layers))),
        "cluster.nodes": list(_doubled(cluster.nodes, MOST_NODES))[:8],
    }
    axes = [("train.recompute", list(_more_recomputed(run.config)))]
    axes += [(key, [{key: value} for value in found]) for key, found in values.items()]
    return [axis for axis in axes if axis[1]]


def _more_recomputed(config: RunConfig) -> Iterator[Changes]:
    """Yield kinds of recomputation that hold less: attention's core, a part of every layer, all of it."""
    how, share = config.train.recompute, config.train.recompute_share
    if how == "none":
        yield {"train.recompute": "selective", **without_share(config)}
    if how != "full" or share is not None:
        for part in RECOMPUTED_PARTS:
            if part > (share or 0.0):
                yield {"train.recompute": "selective", "train.recompute_share": part}
        yield {"train.recompute": "full", **without_share(config)}


def without_share(config: RunConfig) -> Changes:
    """Return the change that removes a given share of recomputation, as another kind needs another share."""
    return {} if config.train.recompute_share is None else {"train.recompute_share": None}


def _doubled(value: int, most: int) -> Iterator[int]:
    while 2 * value <= most:
        value *= 2
        yield value


def _with_batch(config: RunConfig, changes: Changes) -> Changes:
    """Return the changes, with a larger global batch if the present one is too small for the replicas."""
    parallel, cluster = config.parallel, config.cluster
    tensor = changes.get("parallel.tensor", parallel.tensor)
    pipeline = changes.get("parallel.pipeline", parallel.pipeline)
    world = changes.get("cluster.nodes", cluster.nodes) * cluster.gpus_per_node
    replicas = world // (tensor * pipeline * parallel.context)
    at_once = replicas * changes.get("train.micro_batch", config.train.micro_batch)
    return changes if config.train.global_batch >= at_once else {**changes, "train.global_batch": at_once}


def changed(config: RunConfig, changes: Changes) -> RunConfig:
    """Return the config with some keys changed to values that the schema allows."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    update = {section: getattr(config, section).model_copy(update=values) for section, values in sections.items()}
    return config.model_copy(update=update)


def _memory(model: Architecture, config: RunConfig, gpu: GpuSpec) -> MemoryUse | None:
    """Return the memory of the fullest GPU; None where a replica takes more GPUs than there are."""
    layout = Layout.of(config, gpu)
    if layout.data < 1 or layout.accumulation < 1:
        return None
    return peak_memory_use(model, layout, Method.of(config)).within(gpu.memory_bytes)


def settings(changes: Changes) -> list[str]:
    """Return the changes as ``--set`` takes them."""
    return [f"{key}={'null' if value is None else value}" for key, value in changes.items()]


def _text(changes: Changes) -> str:
    first, *others = settings(changes)
    return f"{first} with {' and '.join(others)}" if others else first


def _rate(run: Plan, changes: Changes) -> float:
    """Return the tokens per second of the run with these changes."""
    other = Plan(changed(run.config, changes))
    return other.layout.tokens_per_step / other.mean_step_s


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f}"
