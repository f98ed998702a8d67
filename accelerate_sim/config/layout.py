"""What the keys of a config have to agree on: names with the catalog, the layout with the cluster, model and batch.

Each check is a function of the config that yields problems; each problem names all keys that it is about. Whether the
model fits the memory is a question for ``sim.fit``, which knows what is in it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import lcm

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture, GpuSpec, UnknownName
from accelerate_sim.catalog.families import FAMILIES
from accelerate_sim.config.problems import Problem, shorten, shown
from accelerate_sim.config.schema import CustomModel, RunConfig

MOST_STEPS = 10**9
MOST_GPUS = 10**6
WORLD = ("cluster.nodes", "cluster.gpus_per_node")
MODEL_PARALLEL = ("parallel.pipeline", "parallel.context", "parallel.tensor")

NAMES: dict[str, Callable[[], list[str]]] = {
    "model": catalog.model_names,
    "cluster.gpu": catalog.gpu_names,
    "data.dataset": catalog.dataset_names,
    "train.stack": catalog.stack_names,
}
"""Keys that take a name of the catalog."""
LOOK_UPS: dict[str, Callable[[str], object]] = {
    "model": catalog.model,
    "cluster.gpu": catalog.gpu,
    "data.dataset": catalog.dataset,
    "train.stack": catalog.stack,
}


@dataclass(frozen=True)
class Facts:
    """A config with the catalog entries that it names."""

    config: RunConfig
    model: Architecture
    gpu: GpuSpec

    @classmethod
    def of(cls, config: RunConfig) -> "Facts":
        named = config.model
        model = named if isinstance(named, CustomModel) else catalog.model(named).architecture
        return cls(config, model, catalog.gpu(config.cluster.gpu))

    @property
    def world_size(self) -> int:
        return self.config.cluster.nodes * self.config.cluster.gpus_per_node

    @property
    def replicas(self) -> int:
        parallel = self.config.parallel
        return self.world_size // (parallel.tensor * parallel.pipeline * parallel.context)

    @property
    def stage_ranks(self) -> int:
        """GPUs of one pipeline stage, in all replicas."""
        return self.world_size // self.config.parallel.pipeline

    def value(self, key: str) -> int:
        section, name = key.split(".")
        size: int = getattr(getattr(self.config, section), name)
        return size


def unknown_names(config: RunConfig) -> Iterator[Problem]:
    """Models, GPUs and datasets that the catalog does not have."""
    names = [
        ("cluster.gpu", config.cluster.gpu),
        ("data.dataset", config.data.dataset),
        ("train.stack", config.train.stack),
    ]
    if isinstance(config.model, str):
        names.insert(0, ("model", config.model))
    for key, name in names:
        if problem := unknown_name(key, name):
            yield problem


def unknown_name(key: str, name: str) -> Problem | None:
    """The problem with a name that should be in the catalog, if there is one."""
    try:
        LOOK_UPS[key](name)
    except UnknownName as error:
        # Who writes H100 means H100-SXM, and not H800, which has as many letters in common.
        longer = [known for known in NAMES[key]() if known.lower().startswith(name.lower())]
        guesses = sorted(longer, key=len) or error.suggestions
        close = f"Did you mean '{guesses[0]}'? " if guesses else ""
        kind = {"gpu": "GPU", "stack": "software"}.get(error.kind, error.kind)
        if error.kind == "stack":  # --list has no table of these
            return Problem.about(key, shown(name), f"is {kind} unknown", f"{close}Use one of {NAMES[key]()}.")
        return Problem.about(key, shown(name), f"is an unknown {kind}", f"{close}--list {error.kind}s shows all.")
    return None


def nvlink_domain(gpu: GpuSpec, gpus_per_node: int) -> int:
    """GPUs that tensor parallelism can span: a machine, or the rack if the GPU's NVLink reaches over machines."""
    rack_wide = gpu.nvlink_domain > gpu.gpus_per_node
    return max(gpus_per_node, gpu.nvlink_domain) if rack_wide else gpus_per_node


def conflicts(config: RunConfig) -> list[Problem]:
    """Everything in which keys disagree, for a config whose names are all known."""
    facts = Facts.of(config)
    layout = [problem for check in (tensor_fits, world_divides, pipeline_fits) for problem in check(facts)]
    # Without a whole number of replicas there is nothing to say about what each of them does.
    replicas = [] if layout else [
        *experts_divide(facts), *shards_divide(facts), *shards_exist(facts), *batch_divides(facts),
    ]  # fmt: skip
    rest = (
        sequence_fits, norms_are_split, precision_exists, recomputing_agrees, learning_rates_fit, length_is_sane,
        imposed_ranges,
    )  # fmt: skip
    return [*layout, *replicas, *(problem for check in rest for problem in check(facts))]


def world_divides(facts: Facts) -> Iterator[Problem]:
    """Whole replicas: GPUs divisible by tensor x pipeline x context."""
    world = facts.world_size
    if world > MOST_GPUS:
        yield _problem(facts, WORLD, f"makes {world:,} GPUs", f"Use at most {MOST_GPUS:,} in all.")
        return
    sizes = {key: facts.value(key) for key in MODEL_PARALLEL}
    replica = sizes["parallel.tensor"] * sizes["parallel.pipeline"] * sizes["parallel.context"]
    if world % replica == 0:
        return
    fits = {key: [size for size in divisors(world) if world % (size * replica // sizes[key]) == 0] for key in sizes}
    # To blame is one that could put it right alone.
    key = next((key for key in sizes if fits[key]), "parallel.pipeline")
    if key == "parallel.tensor" and any(tensor_fits(facts)):
        return
    product = " x ".join(f"{name.partition('.')[2]} {size}" for name, size in sizes.items() if size > 1)
    reason = f"does not fit the cluster: {product} does not divide {world:,} GPUs"
    nodes = lcm(world, replica) // facts.config.cluster.gpus_per_node
    way_out = f"Use one of {fits[key]}" if fits[key] else "Make them smaller"
    keys = (key, *WORLD, *(other for other in MODEL_PARALLEL if other != key))
    yield _problem(facts, keys, reason, f"{way_out}, or {nodes:,} nodes.")


def tensor_fits(facts: Facts) -> Iterator[Problem]:
    """Tensor-parallel groups stay where NVLink is; each rank gets whole heads, and as many channels as the others."""
    cluster, tensor = facts.config.cluster, facts.config.parallel.tensor
    domain = nvlink_domain(facts.gpu, cluster.gpus_per_node)
    fitting = [size for size in divisors(domain) if not _indivisible(facts.model, size)]
    if domain % tensor:
        where = "node" if domain == cluster.gpus_per_node else "NVLink domain"
        verb = "is more than" if tensor > domain else "does not divide"
        reason = f"{verb} the {domain} GPUs of {'an' if where[0] == 'N' else 'a'} {where}"
        way_out = f"Tensor-parallel groups cannot cross {where}s; use one of {fitting}{_odd_sizes(facts, domain)}."
        yield _problem(facts, ("parallel.tensor", "cluster.gpus_per_node", "cluster.gpu"), reason, way_out)
    elif width := _indivisible(facts.model, tensor):
        reason = f"does not divide the {width} of {_model_name(facts)}"
        yield _problem(facts, ("parallel.tensor", "model"), reason, f"Use one of {fitting}.")


def _odd_sizes(facts: Facts, domain: int) -> str:
    """Why sizes that divide the domain are not among those to use, by the first of them; empty if all are."""
    for size in divisors(domain):
        if width := _indivisible(facts.model, size):
            return f", for {size} does not divide the {width} of {_model_name(facts)}"
    return ""


def _indivisible(model: Architecture, tensor: int) -> str:
    """What a group of this size cannot share evenly; empty when all is well."""
    if model.heads % tensor:
        return f"{model.heads} heads"
    # Fewer key heads than ranks are copied: whole groups of ranks hold the same one.
    if model.kv_heads % tensor and tensor % model.kv_heads:
        return f"{model.kv_heads} key-value heads"
    for name, width in (("hidden", model.hidden), ("ffn", model.moe.ffn if model.moe else model.ffn)):
        if width % tensor:
            return f"{width:,} {name} channels"
    return ""


def pipeline_fits(facts: Facts) -> Iterator[Problem]:
    """A layer or more for each stage, and for each interleaved chunk of it."""
    parallel, layers = facts.config.parallel, facts.model.layers
    if parallel.pipeline > layers:
        reason = f"is more than the {layers} layers of {_model_name(facts)}"
        yield _problem(facts, ("parallel.pipeline", "model"), reason, f"Use at most {layers}.")
    elif parallel.virtual_stages > 1 and parallel.pipeline == 1:
        reason = "interleaves the stages of a pipeline, and there is one stage"
        yield _problem(facts, ("parallel.virtual_stages", "parallel.pipeline"), reason, "Use 1.")
    # The embedding and the head may take a layer's place in the first and the last chunk (Llama 3 405B).
    elif parallel.virtual_stages * parallel.pipeline > layers + 2:
        reason = f"makes {parallel.virtual_stages * parallel.pipeline:,} chunks of {layers} layers"
        keys = ("parallel.virtual_stages", "parallel.pipeline", "model")
        yield _problem(facts, keys, reason, f"Use at most {max(1, layers // parallel.pipeline)}.")


def experts_divide(facts: Facts) -> Iterator[Problem]:
    """Experts are spread evenly over the ranks of a pipeline stage, which would otherwise hold copies."""
    expert, experts = facts.config.parallel.expert, facts.model.moe.experts if facts.model.moe else 1
    keys = ("parallel.expert", "model", *WORLD, *MODEL_PARALLEL)
    if expert > 1 and not facts.model.moe:
        reason = f"spreads experts, and {_model_name(facts)} has none"
        yield _problem(facts, ("parallel.expert", "model"), reason, "Use 1.")
    elif experts % expert or facts.stage_ranks % expert:
        fitting = [size for size in divisors(facts.stage_ranks) if experts % size == 0]
        reason = f"does not divide both {experts} experts and the {facts.stage_ranks:,} GPUs of a pipeline stage"
        yield _problem(facts, keys, reason, f"Use one of {fitting}.")


def shards_divide(facts: Facts) -> Iterator[Problem]:
    """Groups that split the state are whole, and all alike."""
    group, ranks = facts.config.parallel.shard_group, facts.replicas * facts.config.parallel.context
    if group is not None and ranks % group:
        keys = ("parallel.shard_group", *WORLD, *MODEL_PARALLEL)
        reason = f"does not divide the {ranks:,} ranks that hold the same weights"
        yield _problem(facts, keys, reason, f"Use one of {divisors(ranks)}, or null for all.")


def shards_exist(facts: Facts) -> Iterator[Problem]:
    """Groups of shards are of a state that is split."""
    if facts.config.parallel.shard_group is not None and facts.config.parallel.sharding == "ddp":
        reason = "is for a state that is split, and sharding = 'ddp' splits nothing"
        keys = ("parallel.shard_group", "parallel.sharding")
        yield _problem(facts, keys, reason, "Use sharding fsdp or zero1, or shard_group null.")


def batch_divides(facts: Facts) -> Iterator[Problem]:
    """A step is a whole number of micro-batches on every replica."""
    train, parallel = facts.config.train, facts.config.parallel
    at_once = train.micro_batch * facts.replicas
    keys = ("train.global_batch", "train.micro_batch", *WORLD, *MODEL_PARALLEL)
    product = f"micro_batch {train.micro_batch:,} x {facts.replicas:,} data-parallel replicas = {at_once:,}"
    if train.global_batch % at_once:
        below = train.global_batch // at_once * at_once
        near = " or ".join(f"{batch:,}" for batch in (below, below + at_once) if batch)
        yield _problem(facts, keys, f"is not a multiple of {product}", f"Use {near}.")
    elif parallel.virtual_stages > 1 and train.global_batch // at_once % parallel.pipeline:
        unit = at_once * parallel.pipeline
        micro_batches = train.global_batch // at_once
        reason = f"makes {micro_batches:,} micro-batches a step; interleaving takes {parallel.pipeline} at a time"
        nearest = max(1, round(train.global_batch / unit)) * unit
        yield _problem(facts, (*keys, "parallel.virtual_stages"), reason, f"Use {nearest:,}, or virtual_stages 1.")


def sequence_fits(facts: Facts) -> Iterator[Problem]:
    """Sequences are cut evenly, and have no more tokens than there are learned positions."""
    length, context, model = facts.config.train.sequence_length, facts.config.parallel.context, facts.model
    # A causal model's sequence is cut into twice as many pieces: each rank takes one from both ends.
    pieces = 2 * context if context > 1 else 1
    if length % pieces:
        below = length // pieces * pieces
        keys = ("train.sequence_length", "parallel.context")
        reason = f"is not a multiple of {pieces}, twice the context-parallel size"
        yield _problem(facts, keys, reason, f"Use {below or pieces:,} or {below + pieces:,}.")
    roles = FAMILIES[model.family].roles
    if length > model.context and roles & {"positions", "positions_from_2"}:
        reason = f"is more than the {model.context:,} positions that {_model_name(facts)} has learned"
        keys = ("train.sequence_length", "model")
        yield _problem(facts, keys, reason, f"Use at most {model.context:,}.")


def norms_are_split(facts: Facts) -> Iterator[Problem]:
    """Sequence parallelism is among tensor-parallel ranks."""
    if facts.config.parallel.sequence and facts.config.parallel.tensor == 1:
        reason = "shares norms among tensor-parallel ranks, and there is one rank"
        keys = ("parallel.sequence", "parallel.tensor")
        yield _problem(facts, keys, reason, "Use null, or tensor 2 or more; whole sequences are shared by context.")


def precision_exists(facts: Facts) -> Iterator[Problem]:
    """bf16 and fp8 take a GPU that has them."""
    precision, gpu = facts.config.train.precision, facts.gpu
    has_bf16 = gpu.vendor != "NVIDIA" or gpu.year >= 2020  # since Ampere
    has_scales = gpu.generation == "blackwell"
    missing = {"fp8": not gpu.fp8_flops, "mxfp8": not has_scales, "bf16": not has_bf16}
    if missing.get(precision):
        reason = f"is a format that {gpu.name} does not have"
        usable = "fp8" if precision == "mxfp8" and gpu.fp8_flops else "bf16" if has_bf16 else "fp16"
        way_out = f"Use {usable}, or another GPU."
        yield _problem(facts, ("train.precision", "cluster.gpu"), reason, way_out)


def recomputing_agrees(facts: Facts) -> Iterator[Problem]:
    """Who computes nothing again computes no share again."""
    train = facts.config.train
    if train.recompute == "none" and train.recompute_share:
        reason = "is computed again, and recompute = 'none' computes nothing again"
        keys = ("train.recompute_share", "train.recompute")
        yield _problem(facts, keys, reason, "Use recompute selective, or recompute_share null.")


def learning_rates_fit(facts: Facts) -> Iterator[Problem]:
    """The schedule goes up, then down."""
    train = facts.config.train
    steps = train.epochs * train.steps_per_epoch
    if train.min_lr > train.lr:
        reason = f"is more than lr = {shown(train.lr)}"
        yield _problem(facts, ("train.min_lr", "train.lr"), reason, f"Use e.g. {shown(train.lr / 10)}.")
    if train.warmup_steps > steps:
        keys = ("train.warmup_steps", "train.epochs", "train.steps_per_epoch")
        yield _problem(facts, keys, f"is more than the run's {steps:,} steps", f"Use e.g. {max(1, steps // 20):,}.")


def length_is_sane(facts: Facts) -> Iterator[Problem]:
    """A run has an end."""
    train = facts.config.train
    steps = train.epochs * train.steps_per_epoch
    if steps > MOST_STEPS:
        reason = f"makes {steps:,} steps in {train.epochs:,} epochs"
        way_out = f"Use at most {MOST_STEPS // train.epochs:,}; for runs without end there is run.runs = 0."
        yield _problem(facts, ("train.steps_per_epoch", "train.epochs"), reason, way_out)


IMPOSED_BOUNDS = {
    "step_time_s": (1e-4, 86_400),
    "memory_share": (0.01, 1),
    "utilization_pct": (1, 100),
    "temperature_c": (1, 120),
    "first_loss": (0.1, 100),
    "last_loss": (0.01, 100),
}
"""What a range may span."""


def imposed_ranges(facts: Facts) -> Iterator[Problem]:
    """Ranges have a lower and an upper end, and stay within what there is."""
    impose = facts.config.impose
    for name, (least, most) in IMPOSED_BOUNDS.items():
        pair = getattr(impose, name)
        if pair is None:
            continue
        low, high = pair
        key = f"impose.{name}"
        if low > high:
            swapped = shown([high, low])
            yield Problem.about(key, shown([low, high]), "has its low end above its high end", f"Write {swapped}.")
        elif low < least or high > most:
            yield Problem.about(
                key, shown([low, high]), f"is not between {least:g} and {most:,}", "Use a range inside that."
            )
    if impose.first_loss and impose.last_loss[1] > impose.first_loss[0]:
        keys = ("impose.last_loss", "impose.first_loss")
        reason = f"reaches above first_loss = {shown(list(impose.first_loss))}"
        value = shown(list(impose.last_loss))
        yield Problem.about(keys[0], value, reason, "Use a lower range: losses fall.", keys[1:])


def divisors(number: int) -> list[int]:
    """Divisors in ascending order, the first twelve at most: a message has to end."""
    return [size for size in range(1, min(number, 4096) + 1) if number % size == 0][:12]


def _problem(facts: Facts, keys: Iterable[str], reason: str, way_out: str) -> Problem:
    key, *related = keys
    section, name = key.split(".")
    value = getattr(getattr(facts.config, section), name)
    return Problem.about(key, shown(value), reason, way_out, tuple(related))


def _model_name(facts: Facts) -> str:
    named = facts.config.model
    return shorten(named if isinstance(named, str) else named.name)
