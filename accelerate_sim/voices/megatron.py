"""The voice of Megatron-LM: its arguments, its iteration lines, validations and checkpoints, on standard output.

Formats are those of the modules training, checkpointing and initialize at core 0.19.0 (NVIDIA/Megatron-LM, d98e8a64)
and 0.15, and of forks without a time. The last rank prints iterations and validations, the ranks with data-parallel
rank 0 their parameters and memory, rank 0 the rest. Losses and times are means over the iterations since the last line;
the learning rate and the gradient norm are the last iteration's. Not played: energy, timers of phases, gradient zeros.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from accelerate_sim.records import (
    CheckpointRecord,
    DataRecord,
    DetectRecord,
    EarlyEndRecord,
    EvalRecord,
    ExportingRecord,
    LaunchRecord,
    ModelLoadedRecord,
    RestoredRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
    TokenizerRecord,
)
from accelerate_sim.records.timestamps import to_microseconds, to_seconds
from accelerate_sim.sim.memory.memory import memory_use, parameters_per_rank
from accelerate_sim.voices.megatron_arguments import arguments
from accelerate_sim.voices.voice import Line, Scalars, Setting, Voice, VoiceState, Wording

MB = 1024 * 1024
LARGEST_LOSS_OF_PPL = 20
"""Loss from which the printed perplexity does not grow."""


class _Megatron(VoiceState):
    """Sums since the last iteration line, and the ranks that print."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.micros = self.version == "0.19"
        """Times are in microseconds, and checkpoints have one."""
        self.last_rank = self.run.world_size - 1
        layout = self.plan.layout
        block = layout.tensor * layout.context
        self.first_replicas = tuple(
            rank
            for stage in range(layout.pipeline)
            for rank in range(stage * layout.stage_stride, stage * layout.stage_stride + block)
        )
        """Ranks with data-parallel rank 0."""
        self.flops_per_gpu = self.run.flops_per_token / self.run.world_size / 1e12
        self.throughput = bool(self.options["log_throughput"])
        self.nothing_printed = True
        self.is_done = False
        self.loaded_from = ""
        self.reset()

    def reset(self) -> None:
        self.steps = self.skipped = 0
        self.loss = self.balance = self.seconds = 0.0
        self.tokens_before = -1

    def stamp(self, time: datetime) -> str:
        """The time in brackets in front of a line; forks have none."""
        if self.version == "plain":
            return ""
        return f"[{to_microseconds(time) if self.micros else to_seconds(time)}] "

    def datetime_line(self, what: str) -> Line:
        """A line with the date and the time, which ends with a blank."""
        return Line(f"[{what}] datetime: {to_microseconds(self.now())} ")


def _last(text: str, state: _Megatron) -> Line:
    return Line(text, rank=state.last_rank)


# --- Set-up -----------------------------------------------------------------------------------------


def _launch(record: LaunchRecord, state: _Megatron) -> Iterator[Line]:
    layout = state.plan.layout
    yield Line(
        f"using world size: {state.run.world_size}, data-parallel size: {layout.data}, "
        f"context-parallel size: {layout.context}, hierarchical context-parallel sizes: None, "
        f"tensor-model-parallel size: {layout.tensor}, pipeline-model-parallel size: {layout.pipeline}"
    )
    yield Line("------------------------ arguments ------------------------")
    found = arguments(state.plan, state.run, log_throughput=state.throughput)
    for name, value in sorted(found.items(), key=lambda item: item[0].lower()):
        yield Line(f"  {name} {'.' * (48 - len(name))} {value}")
    yield Line("-------------------- end of arguments ---------------------")
    yield Line("> initializing torch distributed ...")


def _initialized(record: ModelLoadedRecord, state: _Megatron) -> Iterator[Line]:
    layout = state.plan.layout
    yield Line(f"> initialized tensor model parallel with size {layout.tensor}")
    if state.micros:
        yield Line("> initialized gtp weight remat with size 1")
    yield Line(f"> initialized pipeline model parallel with size {layout.pipeline}")
    yield Line(f"> setting random seeds to {state.run.seed} ...")
    yield Line(f"time to initialize megatron (seconds): {record.seconds:.3f}")
    yield state.datetime_line("after megatron is initialized")
    yield Line("building GPT model ...")
    where = "(tensor, gtp_weight_remat, pipeline)" if state.micros else "(tensor, pipeline)"
    for rank in state.first_replicas:
        stage, place = divmod(rank, layout.stage_stride)
        if place >= layout.tensor:
            continue  # context-parallel ranks hold the same weights, and their own data-parallel rank is not 0
        held = round(parameters_per_rank(state.plan.model.architecture, layout, stage).total)
        position = f"({place}, 0, {stage})" if state.micros else f"({place}, {stage})"
        yield Line(f" > number of parameters on {where} model parallel rank {position}: {held}", rank=rank)


def _tokenizer(record: TokenizerRecord, state: _Megatron) -> Iterator[Line]:
    yield state.datetime_line("after model, optimizer, and learning rate scheduler are built")


def _data(record: DataRecord, state: _Megatron) -> Iterator[Line]:
    config = state.plan.config
    evaluated = config.eval.batches * state.run.data_parallel * state.run.micro_batch
    yield Line("> building train, validation, and test datasets ...")
    yield Line(" > datasets target sizes (minimum size):")
    yield Line(f"    train:      {state.run.consumed_samples(record.planned_tokens)}")
    yield Line(f"    validation: {evaluated * _validations(state)}")
    yield Line(f"    test:       {evaluated}")
    yield Line("> building train, validation, and test datasets for GPT ...")
    yield Line("> finished creating GPT datasets ...")
    yield state.datetime_line("after dataloaders are built")
    yield Line("done with setup ...")


def _validations(state: _Megatron) -> int:
    """Validations of the whole run."""
    steps, every = state.run.total_steps, state.plan.config.eval.every or state.run.steps_per_epoch
    return -(-steps // every)


def _training(record: DetectRecord, state: _Megatron) -> Iterator[Line]:
    yield Line("training ...")
    yield state.datetime_line("before the start of training step")


def _restoring(record: RestoringRecord, state: _Megatron) -> Iterator[Line]:
    path = Path(record.path)
    state.loaded_from = str(path.parent)
    yield Line(
        f" loading distributed checkpoint from {path.parent} at iteration {path.name.removeprefix('checkpoint-')}"
    )


def _restored(record: RestoredRecord, state: _Megatron) -> Iterator[Line]:
    layout = state.plan.layout
    yield Line(
        f"  successfully loaded checkpoint from {state.loaded_from} [ t 1/{layout.tensor}, p 1/{layout.pipeline} ] "
        f"at iteration {record.step}"
    )


# --- Training ---------------------------------------------------------------------------------------


def _step(record: StepRecord, state: _Megatron) -> Iterator[Line]:
    if state.tokens_before < 0:
        state.tokens_before = record.tokens - record.global_batch * state.run.sequence_length
    state.steps += 1
    if record.skipped:
        state.skipped += 1
    else:
        state.loss += record.loss
    state.balance += record.load_balancing_loss or 0.0
    state.seconds += record.step_time_s
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
    if state.nothing_printed:
        state.nothing_printed = False
        yield from _memory(record, state)


def _memory(record: StepRecord, state: _Megatron) -> Iterator[Line]:
    """The report of memory, which comes once, after the first iteration line."""
    plan = state.plan
    shape, layout = plan.model.architecture, plan.layout
    ends = shape.embedding_parameters + (0 if shape.tied_embeddings else shape.head_parameters)
    yield Line(f"Number of parameters in transformer block in billions: {(shape.parameters - ends) / 1e9: .2f}")
    yield Line(f"Number of parameters in embedding layers in billions: {ends / 1e9:.2f}")
    yield Line(f"Total number of parameters in billions: {shape.parameters / 1e9:.2f}")
    use = plan.memory
    states = (use.weights + use.gradients + use.optimizer) / MB
    yield Line(
        f"Theoretical memory footprints: weight and optimizer={states:.2f} MB, "
        f"activation={use.activations / MB:.2f} MB, total={states + use.activations / MB:.2f} MB\n"
    )
    for rank in state.first_replicas:
        use = memory_use(shape, layout, plan.method, rank // layout.stage_stride).squeezed(plan.gpu.memory_bytes)
        held = (use.weights + use.gradients + use.optimizer) / MB
        yield Line(
            f"[Rank {rank}] (after {record.step} iterations) memory (MB) | allocated: {held:.2f} | "
            f"max allocated: {use.allocated / MB:.2f} | reserved: {use.reserved / MB:.2f} | "
            f"max reserved: {use.reserved / MB:.2f}",
            rank=rank,
        )


def _evaluation(record: EvalRecord, state: _Megatron) -> Iterator[Line]:
    perplexity = math.exp(min(LARGEST_LOSS_OF_PPL, record.loss))
    losses = f"lm loss value: {record.loss:.6E} | lm loss PPL: {perplexity:.6E} | "
    text = f" validation loss at iteration {record.step} | {losses}"
    dashes = "-" * (len(text) + 1)
    yield from (_last(dashes, state), _last(text, state), _last(dashes, state))


def _saving(record: SavingRecord, state: _Megatron) -> Iterator[Line]:
    stamp = state.stamp(state.now()) if state.micros else ""
    yield Line(
        f"{stamp}saving checkpoint at iteration {record.step:7d} to {Path(record.path).parent} in torch_dist format"
    )


def _saved(record: CheckpointRecord, state: _Megatron) -> Iterator[Line]:
    layout = state.plan.layout
    stamp = state.stamp(state.now()) if state.micros else ""
    yield Line(
        f"  {stamp}successfully saved checkpoint from iteration {record.step:7d} to {Path(record.path).parent} "
        f"[ t 1/{layout.tensor}, p 1/{layout.pipeline} ]"
    )
    yield _last("(min, max) time across ranks (ms):", state)
    span_ms = record.seconds * 1000.0
    yield _last(f"    {'save-checkpoint '.ljust(48, '.')}: ({span_ms:.2f}, {span_ms:.2f})", state)


def _done(record: ExportingRecord | SummaryRecord, state: _Megatron) -> Iterator[Line]:
    if not state.is_done:
        state.is_done = True
        yield state.datetime_line("after training is done")


def _told_to_end(record: EarlyEndRecord, state: _Megatron) -> Iterator[Line]:
    if record.reason == "terminated":
        yield state.datetime_line("exiting program after receiving SIGTERM.")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ModelLoadedRecord: _initialized,
    TokenizerRecord: _tokenizer,
    DataRecord: _data,
    DetectRecord: _training,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    ExportingRecord: _done,
    SummaryRecord: _done,
    EarlyEndRecord: _told_to_end,
}
"""Kinds of record that Megatron-LM has words for; it does not export models."""


def _ranks(state: _Megatron) -> Container[int]:
    return {0, state.last_rank, *state.first_replicas}


SCALARS = Scalars(
    {
        "loss": "lm loss", "lr": "learning-rate", "grad_norm": "grad-norm", "global_batch": "batch-size",
        "step_time_s": "iteration-time",
    },
    {"loss": "lm loss validation", "perplexity": "lm loss validation ppl"},
)  # fmt: skip
VOICE = Voice(LINES, _Megatron, _ranks, SCALARS)
