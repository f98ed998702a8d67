"""The voice of NeMo 2: a line for each logged iteration on standard output, between Lightning's lines of the set-up.

Formats are those of NVIDIA/NeMo 2.4.0: the callback progress_printer, megatron_init, the logger. Iterations count from
0. Figures are means over the iterations since the last line, with four significant digits, ``global_step`` alone is the
last one; the first iteration of a process has no ``consumed_samples``, which are missing from its mean, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelerate_sim.records import (
    CheckpointRecord,
    ConnectRecord,
    DetectRecord,
    EvalRecord,
    ExportingRecord,
    LaunchRecord,
    ModelRecord,
    RestoredRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import to_seconds
from accelerate_sim.sim.memory.memory import parameters_per_rank
from accelerate_sim.voices.lightning import connected, hardware, model_table, ranks, stopped
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

LOGGED = "nemo_logging:393"
"""Module and line that every line of the logger names."""


class _NeMo(VoiceState):
    """Sums of the figures since the last printed iteration."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.model_class = ""
        self.began = self.now()
        self.is_done = False
        self.tflops = bool(self.options["flops_callback"])
        self.first_step = 1
        """Step that has no number of consumed samples yet: the first one of the process."""
        self.reset()

    def reset(self) -> None:
        """Begin the sums anew, after a printed iteration."""
        self.steps = self.consumed = self.batch = self.peak_bytes = 0
        self.lr = self.loss = self.seconds = self.rate = 0.0

    def line(self, text: str, where: str = LOGGED) -> Line:
        """A line of NeMo's logger, whose further rows are indented."""
        rows = text.replace("\n", "\n    ")
        return Line(f"[NeMo I {to_seconds(self.now())} {where}] {rows}")


def number(value: float) -> str:
    """A figure as the printer shows it: a whole number as such, another with four significant digits."""
    return str(int(value)) if float(value).is_integer() else f"{value:.4}"


def _launch(record: LaunchRecord, state: _NeMo) -> Iterator[Line]:
    yield state.line("Experiments will be logged at nemo_experiments/default")
    yield from hardware()
    for text in _groups(state):
        yield state.line(text)


def _groups(state: _NeMo) -> Iterator[str]:
    """The groups of ranks, in the order in which they are made, and the places of rank 0 in them."""
    layout = state.plan.layout
    tensor, context, data, stages = layout.tensor, layout.context, layout.data, layout.pipeline
    stride, world = layout.stage_stride, state.run.world_size
    grid = [
        [[[tp + tensor * (cp + context * dp) + stride * pp for tp in range(tensor)] for cp in range(context)]
         for dp in range(data)]
        for pp in range(stages)
    ]  # fmt: skip
    own = grid[0][0]
    yield f"Rank 0 has data parallel group : {[each[0][0] for each in grid[0]]}"
    both = [
        [grid[pp][dp][cp][tp] for dp in range(data) for cp in range(context)]
        for pp in range(stages) for tp in range(tensor)
    ]  # fmt: skip
    yield f"Rank 0 has combined group of data parallel and context parallel : {both[0]}"
    yield f"All data parallel group ranks with context parallel combined: {both}"
    yield "Ranks 0 has data parallel rank: 0"
    yield f"Rank 0 has context parallel group: {[each[0] for each in own]}"
    contexts = [
        [grid[pp][dp][cp][tp] for cp in range(context)]
        for pp in range(stages) for dp in range(data) for tp in range(tensor)
    ]  # fmt: skip
    yield f"All context parallel group ranks: {contexts}"
    yield "Ranks 0 has context parallel rank: 0"
    models = [
        [grid[pp][dp][cp][tp] for pp in range(stages) for tp in range(tensor)]
        for dp in range(data) for cp in range(context)
    ]  # fmt: skip
    yield f"Rank 0 has model parallel group: {models[0]}"
    yield f"All model parallel group ranks: {models}"
    tensors = [list(range(first, first + tensor)) for first in range(0, world, tensor)]
    yield f"Rank 0 has tensor model parallel group: {tensors[0]}"
    yield f"All tensor model parallel group ranks: {tensors}"
    yield "Rank 0 has tensor model parallel rank: 0"
    pipelines = [list(range(first, world, stride)) for first in range(stride)]
    ends = pipelines[0] if stages == 1 else [pipelines[0][0], pipelines[0][-1]]
    yield f"Rank 0 has pipeline model parallel group: {pipelines[0]}"
    yield f"Rank 0 has embedding group: {ends}"
    yield f"All pipeline model parallel group ranks: {pipelines}"
    yield "Rank 0 has pipeline model parallel rank 0"
    yield f"All embedding group ranks: {pipelines}"
    yield "Rank 0 has embedding rank: 0"


def _model(record: ModelRecord, state: _NeMo) -> Iterator[Line]:
    state.model_class = record.model_class
    return iter(())


def _detected(record: DetectRecord, state: _NeMo) -> Iterator[Line]:
    layout, shape = state.plan.layout, state.plan.model.architecture
    dummies = -shape.vocab % (128 * layout.tensor)
    yield state.line(
        f"Padded vocab_size: {shape.vocab + dummies}, original vocab_size: {shape.vocab}, dummy tokens: {dummies}."
    )
    steps = state.run.total_steps
    yield state.line(f"Copying Trainer's 'max_steps' ({steps}) to LR scheduler's 'max_steps'.")
    held = round(parameters_per_rank(shape, layout).total)
    yield state.line(f" > number of parameters on (tensor, pipeline) model parallel rank (0 ,0): {held}")
    yield model_table(state, state.model_class)


def _restored(record: RestoredRecord, state: _NeMo) -> Iterator[Line]:
    state.first_step = record.step + 1
    return iter(())


def _step(record: StepRecord, state: _NeMo) -> Iterator[Line]:
    run, step = state.run, record.step
    state.steps += 1
    state.lr += record.lr
    state.loss += record.loss
    state.seconds += record.step_time_s
    state.batch += record.global_batch
    state.peak_bytes += record.memory_used_bytes
    if step != state.first_step:
        state.consumed += run.consumed_samples(record.tokens)
    if state.tflops:
        state.rate += record.global_batch / record.step_time_s
    if step % run.log_every:
        return
    every = run.log_every
    figures = {
        "lr": state.lr / every, "global_batch_size": state.batch / every, "global_step": float(step - 1),
        "peak_memory_usage": state.peak_bytes / every, "reduced_train_loss": state.loss / every,
        "train_step_timing in s": state.seconds / every,
    }  # fmt: skip
    if state.tflops:
        flops = run.sequence_length * run.flops_per_token / run.world_size
        figures["TFLOPS_per_GPU"] = state.rate * flops / every / 1e12
    if state.consumed:
        figures["consumed_samples"] = state.consumed / every
    state.reset()
    text = "".join(f" | {name}: {number(value)}" for name, value in figures.items())
    yield Line(f"Training epoch {record.epoch - 1}, iteration {step - 1}/{run.total_steps - 1}{text}")


def _evaluation(record: EvalRecord, state: _NeMo) -> Iterator[Line]:
    batches, every = state.plan.config.eval.batches, state.run.log_every
    for batch in range(every, batches + 1, every):
        yield Line(f"Validation: iteration {batch}/{batches}")


def _saving(record: SavingRecord, state: _NeMo) -> Iterator[Line]:
    state.began = state.now()
    yield state.line("Using FullyParallelSaveStrategyWrapper(torch_dist, 1) dist-ckpt save strategy.")


def _saved(record: CheckpointRecord, state: _NeMo) -> Iterator[Line]:
    yield state.line(
        f"Global Checkpoint Save : Rank: 0 : Iteration: {record.step} : Start time: {state.began.timestamp():.3f}s : "
        f"Save duration: {record.seconds:.3f}s"
    )
    yield state.line(f"Successfully saved checkpoint from iteration {record.step:7d} to {record.path}.ckpt")


def _end(record: ExportingRecord | SummaryRecord, state: _NeMo) -> Iterator[Line]:
    if not state.is_done:
        state.is_done = True
        yield stopped(state.run.total_steps)


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ConnectRecord: connected,
    ModelRecord: _model,
    DetectRecord: _detected,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    ExportingRecord: _end,
    SummaryRecord: _end,
}
"""Kinds of record that NeMo has words for."""

VOICE = Voice(LINES, _NeMo, ranks)
