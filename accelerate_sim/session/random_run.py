"""Draws a run for sessions without a config: model, dataset and GPUs from the catalog, and a cluster that suits them.

Sizes follow practice: as many GPUs as labs took for models of that size, batches that grow and learning rates that
shrink with it. Everything is a pure function of (seed, number), so that a session can be repeated.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import log2
from typing import Any, TypeVar

from pydantic import ValidationError

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture, GpuSpec, UnknownName
from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.keys import overlaid
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.model import CustomModel
from accelerate_sim.sim import noise
from accelerate_sim.sim.run import Run

Item = TypeVar("Item")
Raw = dict[str, Any]

GPUS_BY_SIZE = ((1.5e9, 8, 16), (5e9, 8, 32), (1e10, 8, 64), (2e10, 32, 128), (5e10, 64, 256), (1e11, 64, 512),
                (2e11, 256, 1024), (3e11, 512, 2048), (6e11, 512, 8192), (1e13, 1024, 8192))  # fmt: skip
"""(parameters up to, fewest GPUs, most GPUs)."""
MOST_NODES = 4096
ATTEMPTS = 6
"""Largest number of models and GPUs that are tried with the given keys."""
FILLED = 0.92
"""Largest share of the memory that a drawn layout fills."""
SMALL_MODEL = 15e9
"""Parameters up to which GPUs without NVLink are drawn, and no pipelines."""
REAL_STEP_S = (0.045, 0.11)
"""Longest step that is drawn, in simulated seconds, so that a viewer sees it end."""
REAL_STARTUP_S = (3.0, 6.0)
REAL_VALIDATION_S = 2.5
HIGHEST_MFU = 0.85
"""Largest MFU of a drawn fp8 run; above it bf16 is drawn, as MFU counts fp8 against the bf16 peak by convention."""
MOST_EPOCHS_OF_DATA = 4
"""Times that text can be repeated before it teaches nothing (Muennighoff et al. 2023)."""


@dataclass(frozen=True)
class _Dice:
    """Draws by name."""

    seed: int
    number: int
    attempt: int = 0

    def unit(self, name: str) -> float:
        return float(noise.uniform(self.seed, f"draw run/{name}", self.number, self.attempt)[0])

    def between(self, name: str, low: float, high: float) -> float:
        return low + (high - low) * self.unit(name)

    def one_of(self, name: str, choices: Sequence[Item]) -> Item:
        return choices[int(self.unit(name) * len(choices))]


def draw_run(seed: int, number: int, given: Mapping[str, Any] | None = None) -> Raw:
    """The raw config of run ``number`` of a session without a config file.

    ``given`` is the raw config of the keys that are set. It is laid over the result, and the draws fit it. If nothing
    fits, or if it is wrong, it is ignored here; the code that resolves both reports the problem.
    """
    settled = {key: value for key, value in (given or {}).items() if value is not None}
    for known in (settled, {"model": settled.get("model")}, {}):
        with suppress(ValidationError, UnknownName):
            for attempt in range(ATTEMPTS):
                dice = _Dice(seed, number, attempt)
                if drawn := _believable(dice, known):
                    return _paced(dice, drawn, known)
    raise AssertionError(f"{MOST_NODES:,} machines hold every model of the catalog")


def _believable(dice: _Dice, given: Mapping[str, Any]) -> Raw | None:
    """The fastest layout; in bf16 if fp8 would exceed the largest MFU."""
    drawn = _fastest(dice, given)
    if drawn is None or "precision" in given.get("train", {}):
        return drawn
    run = Run(RunConfig.model_validate(overlaid(drawn, given)))
    fast = run.mfu(run.layout.tokens_per_step / run.mean_step_s) > HIGHEST_MFU
    if run.config.train.precision == "fp8" and fast:
        return _fastest(dice, {**given, "train": {**given.get("train", {}), "precision": "bf16"}})
    return drawn


def _fastest(dice: _Dice, given: Mapping[str, Any]) -> Raw | None:
    """The fastest layout on the smallest cluster that fits; None if no cluster does."""
    settled = RunConfig.model_validate({key: value for key, value in given.items() if key != "model"})
    model = given.get("model") or dice.one_of("model", catalog.model_names())
    named = RunConfig.model_validate({"model": model}).model
    spec = named if isinstance(named, CustomModel) else catalog.model(named).architecture
    fixed = settled.cluster.model_fields_set
    gpu = catalog.gpu(settled.cluster.gpu if "gpu" in fixed else dice.one_of("gpu", _suitable_gpus(spec)))
    gpus_per_node = settled.cluster.gpus_per_node if "gpus_per_node" in fixed else gpu.gpus_per_node
    train = {**_training(dice, spec, gpu), **given.get("train", {})}
    for nodes in [settled.cluster.nodes] if "nodes" in fixed else _cluster_sizes(dice, spec, gpus_per_node):
        cluster = {"nodes": nodes, "gpus_per_node": gpus_per_node, "gpu": gpu.name,
                   "storage_gbytes_per_s": min(2000, max(40, 2 * nodes))}  # fmt: skip
        base: Raw = {"model": model, "cluster": cluster, "run": {"seed": dice.seed}}
        tried = [{**base, **choice} for choice in _choices(spec, gpu, cluster, train)]
        best = max(tried, key=lambda raw: _tokens_per_s(overlaid(raw, given)), default=base)
        if best is not base and _tokens_per_s(overlaid(best, given)):
            return {**best, "data": {"dataset": _dataset(dice, best["train"])}}
    return None


def _tokens_per_s(raw: Raw) -> float:
    """Tokens per second of a config; 0 if its keys do not agree, or if it fills more than its share of the memory."""
    config = RunConfig.model_validate(raw)
    if conflicts(config):
        return 0.0
    run = Run(config)
    if run.memory.least > FILLED * run.gpu.memory_bytes:
        return 0.0
    return run.layout.tokens_per_step / run.mean_step_s


def _suitable_gpus(spec: Architecture) -> list[str]:
    """GPUs for a model: large ones need NVLink, and enough memory that thousands of GPUs are not idle."""
    gpus = [catalog.gpu(name) for name in catalog.gpu_names()]
    small = spec.parameters < SMALL_MODEL
    return [gpu.name for gpu in gpus if small or (gpu.nvlink_bytes_per_s and gpu.memory_bytes > 60e9)]


def _cluster_sizes(dice: _Dice, spec: Architecture, gpus_per_node: int) -> Iterator[int]:
    """Numbers of machines to try: the usual one for the model's size, then twice as many, and so on."""
    _, fewest, most = next(row for row in GPUS_BY_SIZE if spec.parameters <= row[0])
    gpus = fewest * (most / fewest) ** dice.unit("gpus")
    nodes = max(1, 2 ** round(log2(gpus / gpus_per_node)))
    while nodes <= MOST_NODES:
        yield nodes
        nodes *= 2


def _choices(spec: Architecture, gpu: GpuSpec, cluster: Raw, train: Raw) -> Iterator[Raw]:
    """The layouts that a practitioner would compare on this cluster."""
    world = cluster["nodes"] * cluster["gpus_per_node"]
    for tensor, pipeline, virtual_stages in _degrees(spec, gpu):
        replicas, rest = divmod(world, tensor * pipeline)
        if rest:
            continue
        parallel = {
            "tensor": tensor, "pipeline": pipeline, "virtual_stages": virtual_stages,
            "expert": _expert(spec, replicas), "sharding": "zero1" if pipeline > 1 else "fsdp",
        }  # fmt: skip
        for micro_batch in (1, 2, 4, 8):
            unit = replicas * micro_batch * (pipeline if virtual_stages > 1 else 1)
            if batch := _batch(spec, unit, train["sequence_length"]):
                for recompute in ("none", "full"):
                    sizes = {"global_batch": batch, "micro_batch": micro_batch, "recompute": recompute}
                    yield {"parallel": parallel, "train": {**train, **sizes}}


def _degrees(spec: Architecture, gpu: GpuSpec) -> list[tuple[int, int, int]]:
    """(tensor, pipeline, virtual stages) for a model of this size."""
    most = gpu.gpus_per_node if gpu.nvlink_bytes_per_s else 1
    if spec.parameters < SMALL_MODEL:
        degrees = [(1, 1, 1), (2, 1, 1)]
    elif spec.parameters < 1.2e11:
        degrees = [(1, 1, 1), (2, 1, 1), (4, 1, 1), (8, 1, 1), (2, 4, 4), (4, 4, 4), (8, 4, 4), (1, 4, 4)]
    else:
        degrees = [(most, 1, 1), (4, 8, 4), (4, 16, 1), (8, 8, 4), (8, 8, 1), (8, 16, 1), (1, 8, 1), (1, 16, 1)]
    return [degree for degree in degrees if degree[0] <= most]


def _expert(spec: Architecture, replicas: int) -> int:
    if not spec.moe:
        return 1
    sizes = (64, 32, 16, 8, 4, 2) if spec.moe.experts >= 128 else (8, 4, 2)
    return next((size for size in sizes if spec.moe.experts % size == 0 and replicas % size == 0), 1)


def _training(dice: _Dice, spec: Architecture, gpu: GpuSpec) -> Raw:
    lengths = [length for length in (2048, 4096, 8192) if length <= spec.context]
    lr = 3e-4 * (7e9 / spec.parameters) ** 0.3 * dice.between("lr", 0.8, 1.25)
    lr = float(f"{min(max(lr, 5e-5), 1e-3):.1e}")
    epochs = 1 + int(3 * dice.unit("epochs"))
    steps = 50 * round(dice.between("steps", 400, 2000) / 50)
    schedule = dice.one_of("schedule", ["cosine", "cosine", "cosine", "wsd", "linear"])
    return {
        "epochs": epochs, "steps_per_epoch": steps, "sequence_length": dice.one_of("length", lengths or [spec.context]),
        "precision": _precision(dice, gpu), "lr": lr, "schedule": schedule,
        "warmup_steps": 10 * max(1, round(epochs * steps * 0.03 / 10)),
    }  # fmt: skip


def _precision(dice: _Dice, gpu: GpuSpec) -> str:
    if gpu.vendor == "NVIDIA" and gpu.year < 2020:
        return "fp16"  # Volta has no bf16
    return "fp8" if gpu.fp8_flops and dice.unit("fp8") < 0.25 else "bf16"


def _batch(spec: Architecture, unit: int, length: int) -> int:
    """Sequences in a step: half a million to 16 million tokens by size, in whole units; 0 if the cluster is too big."""
    wanted = min(max(5e5 * (spec.parameters / 1e9) ** 0.58, 5e5), 1.6e7) / length
    batch = max(1, round(wanted / unit)) * unit
    return batch if batch <= 2 * wanted else 0


def _dataset(dice: _Dice, train: Raw) -> str:
    """A dataset with enough text for the run."""
    tokens = train["epochs"] * train["steps_per_epoch"] * train["global_batch"] * train["sequence_length"]
    names = catalog.dataset_names()
    enough = [name for name in names if catalog.dataset(name).tokens * MOST_EPOCHS_OF_DATA >= tokens]
    return dice.one_of("dataset", enough or names)


def _paced(dice: _Dice, raw: Raw, given: Mapping[str, Any]) -> Raw:
    """The config with a speed, validations and checkpoints that suit a viewer."""
    run = Run(RunConfig.model_validate(overlaid(raw, given)), dice.number)
    speed = _round(run.mean_step_s / dice.between("speed", *REAL_STEP_S))
    startup_speed = _round(run.startup.total / dice.between("startup", *REAL_STARTUP_S))
    batches = min(max(round(REAL_VALIDATION_S * speed / run.evaluation_batch_s), 10), 200)
    saves = 50 * max(1, round(run.total_steps / 5 / 50))
    return {
        **raw, "eval": {"batches": batches}, "checkpoint": {"every": saves},
        "run": {**raw["run"], "speed": speed, "startup_speed": startup_speed},
    }  # fmt: skip


def _round(speed: float) -> float:
    return float(f"{speed:.1e}")
