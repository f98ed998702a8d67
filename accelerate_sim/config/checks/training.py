"""Checks of batch, sequences, number format and schedule."""

from collections.abc import Iterator

from accelerate_sim.config.checks.facts import MODEL_PARALLEL, WORLD, Facts, model_name, problem_with
from accelerate_sim.config.problems import Problem, shown

MOST_STEPS = 10**9
MOST_STAGES = 1000
"""Keys of a batch that grows."""


def batch_problems(facts: Facts) -> list[Problem]:
    """Problems of the global batch; if there are none, problems of the ramp."""
    return [*batch_divides(facts)] or [*ramp_divides(facts)]


def batch_divides(facts: Facts) -> Iterator[Problem]:
    """A step has a whole number of micro-batches on every replica."""
    train, parallel = facts.config.train, facts.config.parallel
    at_once = train.micro_batch * facts.replicas
    keys = ("train.global_batch", "train.micro_batch", *WORLD, *MODEL_PARALLEL)
    product = f"micro_batch {train.micro_batch:,} x {facts.replicas:,} data-parallel replicas = {at_once:,}"
    if train.global_batch % at_once:
        below = train.global_batch // at_once * at_once
        near = " or ".join(f"{batch:,}" for batch in (below, below + at_once) if batch)
        yield problem_with(facts, keys, f"is not a multiple of {product}", f"Use {near}.")
    elif parallel.virtual_stages > 1 and train.global_batch // at_once % parallel.pipeline:
        unit = at_once * parallel.pipeline
        micro_batches = train.global_batch // at_once
        reason = f"makes {micro_batches:,} micro-batches a step; interleaving takes {parallel.pipeline} at a time"
        nearest = max(1, round(train.global_batch / unit)) * unit
        yield problem_with(facts, (*keys, "parallel.virtual_stages"), reason, f"Use {nearest:,}, or virtual_stages 1.")


def ramp_divides(facts: Facts) -> Iterator[Problem]:
    """A ramp reaches the global batch in whole increments, and each stage has whole micro-batches on every replica."""
    train, parallel = facts.config.train, facts.config.parallel
    ramp, whole = train.batch_ramp, train.global_batch
    if ramp is None:
        return
    start, increment = "train.batch_ramp.start", "train.batch_ramp.increment"
    # Interleaved pipelines take as many micro-batches at a time as they have stages.
    at_once = train.micro_batch * facts.replicas * (parallel.pipeline if parallel.virtual_stages > 1 else 1)
    related = ("train.global_batch", "train.micro_batch", *WORLD, *MODEL_PARALLEL)
    if ramp.start > whole:
        reason = f"is more than global_batch = {whole:,}, which the batch grows to"
        yield Problem.about(start, shown(ramp.start), reason, f"Use at most {whole:,}.", ("train.global_batch",))
        return
    for key, size in ((start, ramp.start), (increment, ramp.increment)):
        if size % at_once:
            above = -(-size // at_once) * at_once
            reason = f"is not a multiple of {at_once:,} sequences, which all replicas take at a time"
            yield Problem.about(key, shown(size), reason, f"Use e.g. {above:,}.", related)
            return
    rise = whole - ramp.start
    if rise % ramp.increment:
        fitting = [size for size in range(at_once, rise + 1, at_once) if rise % size == 0][:12]
        reason = f"does not divide the rise of {rise:,} from start = {ramp.start:,} to global_batch = {whole:,}"
        yield Problem.about(increment, shown(ramp.increment), reason, f"Use one of {fitting}.", (start, *related[:1]))
    elif rise // ramp.increment > MOST_STAGES:
        reason = f"makes {rise // ramp.increment:,} stages"
        least = -(-rise // MOST_STAGES)
        yield Problem.about(increment, shown(ramp.increment), reason, f"Use {least:,} or more.", (start, *related[:1]))


def sequence_fits(facts: Facts) -> Iterator[Problem]:
    """Sequences are cut evenly, and have no more tokens than there are learned positions."""
    length, context, model = facts.config.train.sequence_length, facts.config.parallel.context, facts.model
    # A causal model's sequence is cut into twice as many pieces: each rank takes one from both ends.
    pieces = 2 * context if context > 1 else 1
    if length % pieces:
        below = length // pieces * pieces
        keys = ("train.sequence_length", "parallel.context")
        reason = f"is not a multiple of {pieces}, twice the context-parallel size"
        yield problem_with(facts, keys, reason, f"Use {below or pieces:,} or {below + pieces:,}.")
    if length > model.context and model.learned_positions:
        reason = f"is more than the {model.context:,} positions that {model_name(facts)} has learned"
        keys = ("train.sequence_length", "model")
        yield problem_with(facts, keys, reason, f"Use at most {model.context:,}.")


def precision_exists(facts: Facts) -> Iterator[Problem]:
    """The GPU supports the number format."""
    precision, gpu = facts.config.train.precision, facts.gpu
    has_bf16 = gpu.vendor != "NVIDIA" or gpu.year >= 2020  # since Ampere
    has_scales = gpu.generation == "blackwell"
    missing = {
        "fp8": not gpu.fp8_flops, "mxfp8": not has_scales, "nvfp4": not gpu.fp4_flops, "bf16": not has_bf16
    }  # fmt: skip
    if missing.get(precision):
        reason = f"is a format that {gpu.name} does not have"
        usable = "fp8" if precision in ("mxfp8", "nvfp4") and gpu.fp8_flops else "bf16" if has_bf16 else "fp16"
        way_out = f"Use {usable}, or another GPU."
        yield problem_with(facts, ("train.precision", "cluster.gpu"), reason, way_out)


def recomputing_agrees(facts: Facts) -> Iterator[Problem]:
    """A share to recompute is given only if something is recomputed."""
    train = facts.config.train
    if train.recompute == "none" and train.recompute_share:
        reason = "is computed again, and recompute = 'none' computes nothing again"
        keys = ("train.recompute_share", "train.recompute")
        yield problem_with(facts, keys, reason, "Use recompute selective, or recompute_share null.")


def learning_rates_fit(facts: Facts) -> Iterator[Problem]:
    """The warm-up fits the run, and the last learning rate is not above the peak."""
    train = facts.config.train
    steps = train.epochs * train.steps_per_epoch
    if train.min_lr > train.lr:
        reason = f"is more than lr = {shown(train.lr)}"
        yield problem_with(facts, ("train.min_lr", "train.lr"), reason, f"Use e.g. {shown(train.lr / 10)}.")
    if train.warmup_steps > steps:
        keys = ("train.warmup_steps", "train.epochs", "train.steps_per_epoch")
        yield problem_with(facts, keys, f"is more than the run's {steps:,} steps", f"Use e.g. {max(1, steps // 20):,}.")


def length_is_sane(facts: Facts) -> Iterator[Problem]:
    """The run has at most MOST_STEPS steps."""
    train = facts.config.train
    steps = train.epochs * train.steps_per_epoch
    if steps > MOST_STEPS:
        reason = f"makes {steps:,} steps in {train.epochs:,} epochs"
        way_out = f"Use at most {MOST_STEPS // train.epochs:,}; for runs without end there is run.runs = 0."
        yield problem_with(facts, ("train.steps_per_epoch", "train.epochs"), reason, way_out)
