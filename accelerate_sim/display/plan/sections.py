"""The plan's sections on model, layout, memory, step time, speed, near layouts and files."""

from accelerate_sim.display.plan.rows import Fact, Part, Section, plural, si_seconds_text
from accelerate_sim.display.units import bytes_text, count_text, gib_text, mfu_text, rate_text, si_text
from accelerate_sim.sim import storage
from accelerate_sim.sim.alternatives import near_layouts
from accelerate_sim.sim.memory.fit import memory_uncertainty
from accelerate_sim.sim.memory.memory import WEIGHT_BYTES
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.whole_run import mean_checkpoint_s

_STEP_PARTS = {
    "matmul": "matrix products",
    "elementwise": "norms, activations",
    "recompute": "recomputation",
    "tensor_comm": "TP communication",
    "context_comm": "CP communication",
    "expert_comm": "EP communication",
    "data_comm": "DP communication",
    "pipeline_comm": "PP communication",
    "pipeline_bubble": "pipeline bubble",
    "launch": "waiting for host",
    "other": "stragglers, rest",
}


def sections_of(run: Run) -> list[Section]:
    """All these sections in order, each a heading and its rows."""
    return [_model(run), _layout(run), _memory(run), _step(run), _speed(run), *_near(run), _files(run)]


def _model(run: Run) -> Section:
    shape = run.model.architecture
    kv_heads = "latent attention" if shape.mla else plural(shape.kv_heads, "KV head")
    heads = f"{plural(shape.heads, 'head')} of {shape.head_dim}, {kv_heads}"
    size = f"{shape.parameters:,} ({count_text(shape.parameters)})"
    if shape.active_parameters != shape.parameters:
        size += f", of them {count_text(shape.active_parameters)} active per token"
    rows: list[Fact | Part] = [
        Fact("class", shape.model_class),
        Fact("architecture", f"{plural(shape.layers, 'layer')}, hidden {shape.hidden:,}, {heads}, FFN {shape.ffn:,}"),
        Fact("vocabulary", f"{shape.vocab:,}; context {shape.context:,}"),
        Fact("parameters", size),
    ]
    if moe := shape.moe:
        shared = f" and {moe.shared_experts} shared" if moe.shared_experts else ""
        chosen = f"{moe.active_experts} of {moe.experts}{shared} per token"
        rows.insert(2, Fact("experts", f"{chosen} in {plural(shape.moe_layers, 'layer')}, FFN {moe.ffn:,}"))
    if mamba := shape.mamba:
        state = f"{plural(mamba.heads, 'head')} of {mamba.head_dim}, state {mamba.state}"
        others = f"attention in {plural(shape.attention_layers, 'layer')}"
        rows.insert(2, Fact("Mamba-2", f"{state}, in {plural(shape.mamba_layers, 'layer')}; {others}"))
    return "Model", rows


def _layout(run: Run) -> Section:
    layout, train, dataset = run.layout, run.config.train, run.dataset
    degrees = f"DP {layout.data:,} × TP {layout.tensor} × PP {layout.pipeline} × CP {layout.context}"
    more = f", EP {layout.expert}" * (layout.expert > 1)
    more += f", {layout.virtual_stages} virtual stages" * (layout.virtual_stages > 1)
    batch = f"micro batch {layout.micro_batch:,} × DP {layout.data:,} × accumulation {layout.accumulation:,}"
    tokens = run.tokens_before(run.last_step)
    made = f"{run.last_step:,} of " if run.last_step < run.total_steps else ""
    read = f"{_part_of(tokens / dataset.tokens)} {dataset.title} ({count_text(dataset.tokens)})"
    return "Layout and batch", [
        Fact("world", f"{plural(layout.world_size, 'GPU')} = {degrees}; {layout.sharding.upper()}{more}"),
        Fact("global batch", f"{plural(layout.global_batch, 'sequence')} = {batch}"),
        *_ramp(run),
        Fact("tokens per step", f"{layout.tokens_per_step:,} = {layout.global_batch:,} × {layout.sequence_length:,}"),
        Fact("steps", f"{made}{run.total_steps:,} = {plural(train.epochs, 'epoch')} × {train.steps_per_epoch:,}"),
        Fact("tokens", f"{tokens:,} ({count_text(tokens)}) = {read}"),
    ]


def _ramp(run: Run) -> list[Fact]:
    """Rows on the batch ramp; none without one."""
    ramp, batches = run.config.train.batch_ramp, run.batches
    if ramp is None or len(batches.stages) == 1:
        return []
    grown, first = batches.whole.first_step, batches.stages[0]
    text = f"{plural(first.batch, 'sequence')} at first, {ramp.increment:,} more at a time, {batches.whole.batch:,}"
    when = f"after {plural(grown, 'step')}" if grown < run.last_step else f"only after this run, at step {grown:,}"
    seconds = run.stage_step_s(0)
    rate = run.tokens_of(0) / seconds
    speed = f"{si_seconds_text(seconds)} a step, {rate_text(rate)}, MFU {mfu_text(run.mfu(rate))}"
    return [Fact("batch ramp", f"{text} {when}"), Fact("at first", speed)]


def _memory(run: Run) -> Section:
    capacity, total, imposed = run.gpu.memory_bytes, run.memory.total, run.config.impose.memory_share
    sizes = [(name, size) for name, size in run.memory.parts().items() if size > 0]
    rows: list[Fact | Part] = [
        Part(name.replace("_", " "), f"{size / 2**30:,.2f} GiB", size / capacity)
        for name, size in [*sizes, ("total", total)]
    ]
    fits = total <= capacity
    rest = f"{gib_text(abs(capacity - total))} {'free' if fits else 'too little'}"
    rows.append(Fact("capacity", f"{gib_text(capacity)}: {rest}", "" if fits else "yellow"))
    rows.append(Fact("uncertainty", f"{memory_uncertainty(run.model.architecture):.0%} of the memory model's total"))
    if imposed:
        low, high = (gib_text(share * capacity) for share in imposed)
        rows.append(Fact("imposed", f"{low} to {high} (impose.memory_share), in place of the sum above", "yellow"))
    return "Memory of the fullest GPU", rows


def _step(run: Run) -> Section:
    parts, imposed = run.step_parts, run.config.impose.step_time_s
    largest_first = sorted(parts.parts().items(), key=lambda part: -part[1])
    shown = [(_STEP_PARTS.get(name, name), seconds) for name, seconds in largest_first if seconds > 0]
    decimals = 3 if parts.total >= 1 else 6
    rows: list[Fact | Part] = [
        Part(name, f"{seconds:,.{decimals}f} s", seconds / parts.total)
        for name, seconds in [*shown, ("total", parts.total)]
    ]
    if imposed:
        least, most, mean = map(si_seconds_text, (*imposed, run.mean_step_s))
        bounds = f"{least} to {most}, mean {mean}"
        rows.append(Fact("imposed", f"{bounds} (impose.step_time_s), in place of the sum above", "yellow"))
    return "Time of a step (exposed communication)", rows


def _speed(run: Run) -> Section:
    num_gpus, tokens = run.layout.world_size, run.layout.tokens_per_step
    rate = tokens / run.mean_step_s
    mfu = run.mfu(rate)
    achieved = f"{rate * run.flops_per_token / num_gpus / 1e12:,.1f}"
    peak = f"{run.gpu.bf16_flops / 1e12:,.0f} TFLOP/s dense bf16"
    if mfu > 1:
        cause = "the imposed step time" if run.config.impose.step_time_s else "this step time"
        use = Fact("MFU", f"n/a: {cause} needs {mfu:,.1f} times the peak of these GPUs ({peak} each)", "red")
    else:
        use = Fact("MFU", f"{mfu:.1%} = {achieved} of {peak} per GPU (PaLM's convention, recomputation not counted)")
    of_fp8 = ""
    if run.method.is_fp8 and run.gpu.fp8_flops:
        of_fp8 = (
            f"{mfu * run.gpu.bf16_flops / run.gpu.fp8_flops:.1%} of {run.gpu.fp8_flops / 1e12:,.0f} TFLOP/s dense fp8"
        )
    work = f"{si_text(run.flops_per_token, 'FLOP')}: 6 per matrix parameter, and attention over the full square"
    return "Speed", [
        Fact(
            "throughput", f"{rate_text(rate)} = {tokens:,} / {run.mean_step_s:.6g} s, in a step that nothing disturbs"
        ),
        Fact("per GPU", rate_text(rate / num_gpus)),
        Fact("work per token", work),
        use,
        *([Fact("", of_fp8)] if of_fp8 else []),
    ]


def _near(run: Run) -> list[Section]:
    """Near layouts, with what they would gain or lose."""
    found = near_layouts(run)
    rows: list[Fact | Part] = [
        Fact(
            f"{other.speed - 1:+.1%}",
            f"{other.text}: {rate_text(other.tokens_per_s)}, {gib_text(other.memory_bytes)} of memory",
        )
        for other in found
    ]
    heading = "Near layouts" if any(other.speed >= 1.001 for other in found) else "Near layouts: none is faster"
    return [(heading, rows)] if rows else []


def _files(run: Run) -> Section:
    saving = run.config.checkpoint
    state = f"{bytes_text(run.checkpoint_bytes)} = {storage.STATE_BYTES_PER_PARAMETER} bytes × parameters"
    weights = f"{bytes_text(run.export_bytes)} = {WEIGHT_BYTES} bytes × parameters"
    shards = plural(len(storage.shards(run.model.architecture)), "shard")
    rows: list[Fact | Part] = [Fact("checkpoint", state)]
    if saving.every:
        rate = f"storage takes {run.storage.bytes_per_s / 1e9:g} GB/s at best"
        rows.append(Fact("write time", f"about {mean_checkpoint_s(run):.1f} s each; {rate}"))
        rows.append(Fact("kept", f"the last {saving.keep_last}; one every {plural(saving.every, 'step')}"))
    else:
        rows.append(Fact("write time", "none is written (checkpoint.every = 0)"))
    return "Files", [*rows, Fact("export", f"{weights}, in {shards}")]


def _part_of(share: float) -> str:
    if share >= 1:
        return f"{share:,.2f} times"
    return f"{share:.2%} of" if share >= 0.0001 else f"{share * 100:.1g}% of"
