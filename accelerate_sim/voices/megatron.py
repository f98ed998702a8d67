"""The voice of Megatron-LM: its arguments, its iteration lines, validations and checkpoints, on standard output.

Formats are those of the modules training, checkpointing and initialize at core 0.19.0 (NVIDIA/Megatron-LM, d98e8a64)
and 0.15, and of forks without a time. The last rank prints iterations, validations and timers, the ranks with
data-parallel rank 0 their parameters and memory, rank 0 the rest. Losses and times are means over the iterations since
the last line, which the additional line of 0.19 for iteration 1 does not count as; the learning rate and the gradient
norm are the last iteration's. Not played: energy, gradient zeros, the validation after the training.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.records import (
    CheckpointRecord,
    EarlyEndRecord,
    EvalRecord,
    ExportingRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.sim.memory.memory import memory_use, parameters_per_rank
from accelerate_sim.voices.megatron_setup import SETUP
from accelerate_sim.voices.megatron_state import Megatron
from accelerate_sim.voices.voice import Line, Scalars, Voice, Wording

if TYPE_CHECKING:
    from accelerate_sim.voices.megatron_timers import PhaseTimers

MB = 1024 * 1024
LARGEST_LOSS_OF_PPL = 20
"""Loss from which the printed perplexity does not grow."""


def _step(record: StepRecord, state: Megatron) -> Iterator[Line]:
    if state.tokens_before < 0:
        state.tokens_before = record.tokens - record.global_batch * state.run.sequence_length
    state.steps += 1
    if record.skipped:
        state.skipped += 1
    else:
        state.loss += record.loss
    state.balance += record.load_balancing_loss or 0.0
    state.seconds += record.step_time_s
    if state.phases:
        state.phases.add(record)
    if record.step % state.run.log_every and not (state.micros and record.step == 1):
        return
    steps, seconds = state.steps, state.seconds
    throughput = ""
    if state.throughput:
        rate = state.flops_per_gpu * (record.tokens - state.tokens_before) / seconds
        throughput = f" throughput per GPU (TFLOP/s/GPU): {rate:.1f} |"
    skipped, loss = state.skipped, state.loss / max(steps - state.skipped, 1)
    scale = record.loss_scale or 1.0
    losses = f" lm loss: {loss:.6E} |" if loss > 0.0 else ""
    if record.load_balancing_loss is not None:
        losses += f" load_balancing_loss: {state.balance / steps:.6E} |"
    if record.step % state.run.log_every == 0:
        state.reset()
    yield Line(
        f" {state.stamp(record.time)}iteration {record.step:8d}/{state.run.total_steps:8d} | "
        f"consumed samples: {state.run.consumed_samples(record.tokens):12d} | "
        f"elapsed time per iteration (ms): {seconds * 1000.0 / steps:.1f} |{throughput} "
        f"learning rate: {record.lr:.6E} | global batch size: {record.global_batch:5d} |{losses} "
        f"loss scale: {scale:.1f} | grad norm: {record.grad_norm:.3f} | "
        f"number of skipped iterations: {skipped:3d} | number of nan iterations: {0:3d} |",
        rank=state.last_rank,
    )
    if state.reports_memory:
        state.reports_memory = state.micros and record.step <= state.resumed_step + 1
        yield from memory_report(record, state)
    if state.phases:
        yield from _phases(record, state, state.phases)


def _phases(record: StepRecord, state: Megatron, phases: PhaseTimers) -> Iterator[Line]:
    """The timers inside a step, over ``log_every`` iterations, also where fewer have been made since the last line."""
    every = state.run.log_every
    yield from state.rank_timers({name: (spans / every).tolist() for name, spans in phases.sums.items()})
    if record.step % every == 0:
        phases.reset()


def memory_report(record: StepRecord, state: Megatron) -> Iterator[Line]:
    """The report of memory, which comes after the first iteration line, and in 0.19 also after iteration 1."""
    plan = state.plan
    use = plan.memory
    yield from theoretical_memory(state)
    for rank in state.first_replicas:
        use = memory_use(plan.model.architecture, plan.layout, plan.method, rank // plan.layout.stage_stride)
        use = use.squeezed(plan.gpu.memory_bytes)
        held = (use.weights + use.gradients + use.optimizer) / MB
        yield Line(
            f"[Rank {rank}] (after {record.step} iterations) memory (MB) | allocated: {held:.2f} | "
            f"max allocated: {use.allocated / MB:.2f} | reserved: {use.reserved / MB:.2f} | "
            f"max reserved: {use.reserved / MB:.2f}",
            rank=rank,
        )


def theoretical_memory(state: Megatron) -> Iterator[Line]:
    """The counts of parameters and the memory that they and the activations take, from rank 0."""
    shape, layout, use = state.plan.model.architecture, state.plan.layout, state.plan.memory
    ends = shape.embedding_parameters + (0 if shape.tied_embeddings else shape.head_parameters)
    block, active = shape.parameters - ends, shape.active_parameters
    yield Line(f"Number of parameters in transformer block in billions: {block / 1e9: .2f}")
    if state.micros:
        yield Line(f"Number of active parameters in transformer block in billions: {(active - ends) / 1e9: .2f}")
    yield Line(f"Number of parameters in embedding layers in billions: {ends / 1e9:.2f}")
    yield Line(f"Total number of parameters in billions: {shape.parameters / 1e9:.2f}")
    if state.micros:
        yield Line(f"Total number of active parameters in billions: {active / 1e9:.2f}")
    first = parameters_per_rank(shape, layout).total
    yield Line(f"Number of parameters in most loaded shard in billions: {first / 1e9:.4f}")
    if layout.pipeline > 1:
        other = block / layout.pipeline / layout.tensor
        yield Line(f"Number of parameters in other shards in billions: {other / 1e9:.4f}")
    known = layout.sequence_parallel and state.plan.config.train.recompute == "selective"
    yield Line(f"compute_activation_memory{' with SP' if known else '_without_sp'}")
    kept = use.activations / MB
    form = "" if known else " (precise, without SP)"
    yield Line(f"Activation memory footprint per transformer layer{form}: {kept / shape.layers:.1f} MB")
    if layout.pipeline > 1:
        flying = min(layout.accumulation, layout.pipeline)
        yield Line(f"Number of in-flight microbatches: {flying}")
    states = (use.weights + use.gradients + use.optimizer) / MB
    yield Line(
        f"Theoretical memory footprints: weight and optimizer={states:.2f} MB, activation={kept:.2f} MB, "
        f"total={states + kept:.2f} MB\n"
    )


def _evaluation(record: EvalRecord, state: Megatron) -> Iterator[Line]:
    yield from state.timers({"evaluate": record.seconds})
    perplexity = math.exp(min(LARGEST_LOSS_OF_PPL, record.loss))
    losses = f"lm loss value: {record.loss:.6E} | lm loss PPL: {perplexity:.6E} | "
    text = f" validation loss at iteration {record.step} | {losses}"
    dashes = "-" * (len(text) + 1)
    yield from (state.last(dashes), state.last(text), state.last(dashes))


def _saving(record: SavingRecord, state: Megatron) -> Iterator[Line]:
    stamp = state.stamp(state.now()) if state.micros else ""
    yield Line(
        f"{stamp}saving checkpoint at iteration {record.step:7d} to {Path(record.path).parent} in torch_dist format"
    )


def _saved(record: CheckpointRecord, state: Megatron) -> Iterator[Line]:
    stamp = state.stamp(state.now()) if state.micros else ""
    yield Line(
        f"  {stamp}successfully saved checkpoint from iteration {record.step:7d} to {Path(record.path).parent} "
        f"{state.position()}"
    )
    yield from state.timers({"save-checkpoint": record.seconds})


def _done(record: ExportingRecord | SummaryRecord, state: Megatron) -> Iterator[Line]:
    if not state.is_done:
        state.is_done = True
        yield state.datetime_line("after training is done")


def _told_to_end(record: EarlyEndRecord, state: Megatron) -> Iterator[Line]:
    if record.reason == "terminated":
        yield state.datetime_line("exiting program after receiving SIGTERM.")


LINES: Mapping[type, Wording] = {
    **SETUP,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    ExportingRecord: _done,
    SummaryRecord: _done,
    EarlyEndRecord: _told_to_end,
}
"""Kinds of record that Megatron-LM has words for; it does not export models."""


def _ranks(state: Megatron) -> Container[int]:
    return {0, state.last_rank, *state.first_replicas}


SCALARS = Scalars(
    {
        "loss": "lm loss", "lr": "learning-rate", "grad_norm": "grad-norm", "global_batch": "batch-size",
        "step_time_s": "iteration-time",
    },
    {"loss": "lm loss validation", "perplexity": "lm loss validation ppl"},
)  # fmt: skip
VOICE = Voice(LINES, Megatron, _ranks, SCALARS)
