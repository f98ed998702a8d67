"""The voice of torchtitan: lines of its logger, in colours also on a pipe.

Formats are those of its modules metrics, trainer and logging at 0.1.0 and at 0.2.2 (pytorch/torchtitan, b5bcd76c).
Rates are over the time since the last line, pauses for checkpoints included; after a validation the count begins anew.
The printing rank is the first one of the last pipeline stage, which alone has the loss; rank 0 deletes checkpoints and
waits for the others. 0.2.2 says nothing when the checkpoint of the last step is done, and validates after it has saved;
0.1.0 does not validate. Not played: the validation after the first step.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import timedelta

from accelerate_sim.records import (
    CheckpointRecord,
    DeletedRecord,
    EvalRecord,
    RestoredRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.voices.torchtitan_setup import SETUP
from accelerate_sim.voices.torchtitan_state import GIB, Titan
from accelerate_sim.voices.voice import Line, Scalars, Voice, Wording

GC_EVERY = 50
"""Steps from one collection of garbage to the next."""
PERIODIC = "Performing periodic GC collection"


def _restoring(record: RestoringRecord, state: Titan) -> Iterator[Line]:
    yield state.line(f"Loading the checkpoint from {record.path}.")


def _restored(record: RestoredRecord, state: Titan) -> Iterator[Line]:
    state.since = state.now()
    yield state.gc("GC collection for checkpoint loading.")
    yield state.line(f"Finished loading the checkpoint in {record.seconds:.2f} seconds.")


def _step(record: StepRecord, state: Titan) -> Iterator[Line]:
    run, step = state.run, record.step
    if state.validated:
        yield from state.validation()  # the script has saved no checkpoint
    if not state.has_begun:
        state.has_begun = True
        begin = record.time - timedelta(seconds=record.step_time_s)
        yield state.line(f"Training starts at step {step}{state.dot}", begin)
    if state.tokens < 0:
        state.tokens = record.tokens - record.global_batch * run.sequence_length
    if step > 1 and step % GC_EVERY == 0:
        yield state.gc("Peforming periodical GC collection" if state.is_01 else PERIODIC, record.time)
    if step != 1 and step % run.log_every:
        return
    color = state.color
    rate = state.tokens_per_s(record.tokens, record.time)
    flops = run.flops_per_token * rate
    used = record.memory_used_bytes - state.plan.memory.context
    state.memory = f"memory: {used / GIB:5.2f}GiB({100.0 * used / run.memory_total_bytes:.2f}%)"
    norm = "" if state.is_01 else f"{color.orange}grad_norm: {record.grad_norm:7.4f}  "
    memory_color = color.yellow if state.is_01 else color.turquoise
    yield state.line(
        f"{color.red}step: {step:2}  {color.green}loss: {record.loss:{state.loss_format}}  {norm}"
        f"{memory_color}{state.memory}  {color.blue}tps: {round(rate):,}  "
        f"{color.cyan}tflops: {flops / 1e12:,.2f}  "
        f"{color.magenta}mfu: {100.0 * flops / run.peak_flops_per_gpu:.2f}%{color.reset}",
        record.time,
    )
    if step == 1:
        timeout = "Synchronizing and adjusting timeout for all ProcessGroups to 0:01:40"
        yield state.line(timeout, record.time)


def _evaluation(record: EvalRecord, state: Titan) -> Iterator[Line]:
    if state.is_01:
        return  # it does not validate
    run, color, every = state.run, state.color, state.plan.config.checkpoint.every
    seconds = (state.now() - state.since).total_seconds()
    batches = state.plan.config.eval.batches * run.data_parallel * run.micro_batch
    rate = batches * run.sequence_length / max(seconds, record.seconds) / run.world_size
    state.validated = (
        f"{color.yellow}validate step: {record.step:2}  {color.green}loss: {record.loss:7.4f}  "
        f"{color.turquoise}{state.memory}  {color.blue}tps: {round(rate):,}{color.reset}"
    )
    if not every or record.step % every:
        yield from state.validation()


def _saving(record: SavingRecord, state: Titan) -> Iterator[Line]:
    yield state.line("Saving the checkpoint (or staging if async is enabled).")
    if record.step == state.run.total_steps:
        if state.is_01:
            yield state.line(f"Saving a full checkpoint at last step, step {record.step}.")
        else:
            yield state.line(f"Saving a model only checkpoint in torch.float32 at last step, step {record.step}.")


def _saved(record: CheckpointRecord, state: Titan) -> Iterator[Line]:
    yield state.gc("GC collection invoked by checkpointer.")
    if record.step < state.run.total_steps or state.is_01:
        yield state.line(
            f"Finished saving the checkpoint (or staging if async is enabled)in {record.seconds:.2f} seconds."
        )
    yield from state.validation()


def _deleted(record: DeletedRecord, state: Titan) -> Iterator[Line]:
    yield state.line(f"Checkpointer is deleting {record.path}.", rank=0)


def _end(record: SummaryRecord, state: Titan) -> Iterator[Line]:
    yield from state.validation()
    yield state.line("Sleeping 2 seconds for other ranks to complete", rank=0)
    yield state.line("Training completed", rank=None if state.is_01 else 0)
    if state.plan.config.checkpoint.every:
        yield state.line("Destroying the purge thread.")
    yield state.line(f"Process group destroyed{state.dot}")


LINES: Mapping[type, Wording] = {
    **SETUP,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    DeletedRecord: _deleted,
    SummaryRecord: _end,
}
"""Kinds of record that torchtitan has words for."""


def _ranks(state: Titan) -> Container[int]:
    return {0, state.rank}


SCALARS = Scalars(
    {"loss": "loss_metrics/global_avg_loss", "grad_norm": "grad_norm", "step_time_s": "time_metrics/end_to_end(s)"},
    {"loss": "validation_metrics/loss"},
)
VOICE = Voice(LINES, Titan, _ranks, SCALARS)
