"""Checks that a layout fits the GPUs of the cluster and divides the model.

Each check is a function of the facts that yields problems; each problem names all keys that it is about.
``sim.memory.fit`` checks whether the model fits the memory.
"""

from collections.abc import Iterator
from math import lcm

from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.config.checks.facts import MODEL_PARALLEL, WORLD, Facts, divisors, model_name, problem_with
from accelerate_sim.config.problems import Problem

MOST_GPUS = 10**6


def nvlink_domain(gpu: GpuSpec, gpus_per_node: int) -> int:
    """Number of GPUs that one tensor-parallel group can span: a machine, or the rack if NVLink joins machines."""
    rack_wide = gpu.nvlink_domain > gpu.gpus_per_node
    return max(gpus_per_node, gpu.nvlink_domain) if rack_wide else gpus_per_node


def world_divides(facts: Facts) -> Iterator[Problem]:
    """The GPUs are divisible by tensor x pipeline x context, so that replicas are whole."""
    world = facts.world_size
    if world > MOST_GPUS:
        yield problem_with(facts, WORLD, f"makes {world:,} GPUs", f"Use at most {MOST_GPUS:,} in all.")
        return
    sizes = {key: facts.value(key) for key in MODEL_PARALLEL}
    replica = sizes["parallel.tensor"] * sizes["parallel.pipeline"] * sizes["parallel.context"]
    if world % replica == 0:
        return
    fits = {key: [size for size in divisors(world) if world % (size * replica // sizes[key]) == 0] for key in sizes}
    # The problem names a key that could be changed alone to solve it.
    key = next((key for key in sizes if fits[key]), "parallel.pipeline")
    if key == "parallel.tensor" and any(tensor_fits(facts)):
        return
    product = " x ".join(f"{name.partition('.')[2]} {size}" for name, size in sizes.items() if size > 1)
    reason = f"does not fit the cluster: {product} does not divide {world:,} GPUs"
    nodes = lcm(world, replica) // facts.config.cluster.gpus_per_node
    way_out = f"Use one of {fits[key]}" if fits[key] else "Make them smaller"
    keys = (key, *WORLD, *(other for other in MODEL_PARALLEL if other != key))
    yield problem_with(facts, keys, reason, f"{way_out}, or {nodes:,} nodes.")


def tensor_fits(facts: Facts) -> Iterator[Problem]:
    """A tensor-parallel group divides an NVLink domain, or is several whole ones; each rank has whole heads and equally
    many channels."""
    cluster, tensor = facts.config.cluster, facts.config.parallel.tensor
    domain = nvlink_domain(facts.gpu, cluster.gpus_per_node)
    fitting = [size for size in divisors(domain) if not _indivisible(facts.model, size)]
    if domain % tensor and tensor % domain:
        where = "node" if domain == cluster.gpus_per_node else "NVLink domain"
        verb = "is no multiple of" if tensor > domain else "does not divide"
        reason = f"{verb} the {domain} GPUs of {'an' if where[0] == 'N' else 'a'} {where}"
        way_out = f"Use one of {fitting}{_odd_sizes(facts, domain)}; groups over several whole {where}s work, slowly."
        yield problem_with(facts, ("parallel.tensor", "cluster.gpus_per_node", "cluster.gpu"), reason, way_out)
    elif width := _indivisible(facts.model, tensor):
        reason = f"does not divide the {width} of {model_name(facts)}"
        yield problem_with(facts, ("parallel.tensor", "model"), reason, f"Use one of {fitting}.")


def _odd_sizes(facts: Facts, domain: int) -> str:
    """The reason why some sizes that divide the domain are not proposed, by the first of them; empty if all are."""
    for size in divisors(domain):
        if width := _indivisible(facts.model, size):
            return f", for {size} does not divide the {width} of {model_name(facts)}"
    return ""


def _indivisible(model: Architecture, tensor: int) -> str:
    """The dimension that a group of this size cannot divide evenly, in words; empty if it divides all."""
    if model.heads % tensor:
        return f"{model.heads} heads"
    # If there are fewer key heads than ranks, each is copied to a whole group of ranks.
    if model.kv_heads % tensor and tensor % model.kv_heads:
        return f"{model.kv_heads} key-value heads"
    if model.mamba and model.mamba.heads % tensor:
        return f"{model.mamba.heads} Mamba heads"
    for name, width in (("hidden", model.hidden), ("ffn", model.moe.ffn if model.moe else model.ffn)):
        if width % tensor:
            return f"{width:,} {name} channels"
    return ""


def pipeline_fits(facts: Facts) -> Iterator[Problem]:
    """Each stage, and each interleaved chunk, has at least one layer."""
    parallel, layers = facts.config.parallel, facts.model.layers
    if parallel.pipeline > layers:
        reason = f"is more than the {layers} layers of {model_name(facts)}"
        yield problem_with(facts, ("parallel.pipeline", "model"), reason, f"Use at most {layers}.")
    elif parallel.virtual_stages > 1 and parallel.pipeline == 1:
        reason = "interleaves the stages of a pipeline, and there is one stage"
        yield problem_with(facts, ("parallel.virtual_stages", "parallel.pipeline"), reason, "Use 1.")
    # The embedding and the head may take a layer's place in the first and the last chunk (Llama 3 405B).
    elif parallel.virtual_stages * parallel.pipeline > layers + 2:
        reason = f"makes {parallel.virtual_stages * parallel.pipeline:,} chunks of {layers} layers"
        keys = ("parallel.virtual_stages", "parallel.pipeline", "model")
        yield problem_with(facts, keys, reason, f"Use at most {max(1, layers // parallel.pipeline)}.")


def experts_divide(facts: Facts) -> Iterator[Problem]:
    """Experts are divided evenly among ranks of one pipeline stage."""
    expert, experts = facts.config.parallel.expert, facts.model.moe.experts if facts.model.moe else 1
    keys = ("parallel.expert", "model", *WORLD, *MODEL_PARALLEL)
    if expert > 1 and not facts.model.moe:
        reason = f"spreads experts, and {model_name(facts)} has none"
        yield problem_with(facts, ("parallel.expert", "model"), reason, "Use 1.")
    elif experts % expert or facts.stage_ranks % expert:
        fitting = [size for size in divisors(facts.stage_ranks) if experts % size == 0]
        reason = f"does not divide both {experts} experts and the {facts.stage_ranks:,} GPUs of a pipeline stage"
        yield problem_with(facts, keys, reason, f"Use one of {fitting}.")


def shards_divide(facts: Facts) -> Iterator[Problem]:
    """Groups that shard the state are whole and of one size."""
    group, ranks = facts.config.parallel.shard_group, facts.replicas * facts.config.parallel.context
    if group is not None and ranks % group:
        keys = ("parallel.shard_group", *WORLD, *MODEL_PARALLEL)
        reason = f"does not divide the {ranks:,} ranks that hold the same weights"
        yield problem_with(facts, keys, reason, f"Use one of {divisors(ranks)}, or null for all.")


def shards_exist(facts: Facts) -> Iterator[Problem]:
    """A shard group is given only if the state is sharded."""
    if facts.config.parallel.shard_group is not None and facts.config.parallel.sharding == "ddp":
        reason = "is for a state that is split, and sharding = 'ddp' splits nothing"
        keys = ("parallel.shard_group", "parallel.sharding")
        yield problem_with(facts, keys, reason, "Use sharding fsdp or zero1, or shard_group null.")


def norms_are_split(facts: Facts) -> Iterator[Problem]:
    """Sequence parallelism needs tensor parallelism."""
    if facts.config.parallel.sequence and facts.config.parallel.tensor == 1:
        reason = "shares norms among tensor-parallel ranks, and there is one rank"
        keys = ("parallel.sequence", "parallel.tensor")
        yield problem_with(facts, keys, reason, "Use null, or tensor 2 or more; whole sequences are shared by context.")
