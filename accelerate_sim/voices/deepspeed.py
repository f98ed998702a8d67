"""The voice of DeepSpeed's engine: the lines of its logger, two of them for each printed step.

Formats are those of its modules logging, comm, timer, engine, config, zero and checkpoint engine at 0.16.9 and 0.18.9
(deepspeedai/DeepSpeed). Since 0.17.6 the logger's level is WARNING, so 0.18 says nothing of steps unless ``log_level``
is info. The engine's timer leaves out the first two steps. Every rank logs its accelerator and its backend, and in 0.16
that a checkpoint is ready; rank 0 logs the rest. Not played: memory around the optimizer's states.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from accelerate_sim.records import CheckpointRecord, RestoringRecord, SavingRecord, StepRecord
from accelerate_sim.voices.deepspeed_setup import SETUP
from accelerate_sim.voices.deepspeed_state import DeepSpeedState
from accelerate_sim.voices.voice import Line, Voice, Wording

FIRST_COUNTED = 2
"""Steps that the engine's timer leaves out, and prints no line for."""


def _step(record: StepRecord, state: DeepSpeedState) -> Iterator[Line]:
    run = state.run
    state.steps += 1
    state.micro_steps += record.global_batch // (run.micro_batch * run.data_parallel)
    if state.steps > FIRST_COUNTED:
        state.seconds += record.step_time_s
        state.samples += record.global_batch
    if record.skipped and record.loss_scale:
        state.skipped += 1
        scale = int(record.loss_scale)
        what = f"[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: {2 * scale}, reducing to {scale}"
        yield from state.info("loss_scaler.py:189:update_scale", what)
    if record.step % run.log_every:
        return
    lr = record.lr
    yield from state.main(
        f"step={record.step}, skipped={state.skipped}, lr=[{lr}, {lr}], mom=[(0.9, 0.95), (0.9, 0.95)]"
    )
    if not state.seconds:
        return
    yield from state.info(
        "timer.py:264:stop",
        f"epoch={record.epoch - 1}/micro_step={state.micro_steps}/global_step={record.step}, "
        f"RunningAvgSamplesPerSec={state.samples / state.seconds}, "
        f"CurrSamplesPerSec={record.global_batch / record.step_time_s}, "
        f"MemAllocated={round(state.allocated, 2)}GB, MaxMemAllocated={round(state.max_allocated, 2)}GB",
    )


def _saving(record: SavingRecord, state: DeepSpeedState) -> Iterator[Line]:
    tag = f"global_step{record.step}"
    path = Path(record.path).parent / tag / "mp_rank_00_model_states.pt"
    yield from state.main(f"[Torch] Checkpoint {tag} is about to be saved!")
    if state.is_old:
        yield from state.info("logging.py:107:log_dist", f"[Rank 0] Saving model checkpoint: {path}")
        yield from state.info("torch_checkpoint_engine.py:21:save", f"[Torch] Saving {path}...")
    else:
        yield from state.main(f"Saving model checkpoint: {path}")


def _saved(record: CheckpointRecord, state: DeepSpeedState) -> Iterator[Line]:
    if not state.is_old:
        return  # newer releases say nothing when it is done
    tag = f"global_step{record.step}"
    path = Path(record.path).parent / tag / "mp_rank_00_model_states.pt"
    yield from state.info("torch_checkpoint_engine.py:23:save", f"[Torch] Saved {path}.")
    for rank in range(state.run.world_size):
        where = "torch_checkpoint_engine.py:33:commit"
        yield from state.info(where, f"[Torch] Checkpoint {tag} is ready now!", rank)


def _restoring(record: RestoringRecord, state: DeepSpeedState) -> Iterator[Line]:
    path = Path(record.path)
    file = path.parent / path.name.replace("checkpoint-", "global_step") / "mp_rank_00_model_states.pt"
    if state.is_old:
        for line, what in ((27, "Loading checkpoint from {}..."), (29, "Loaded checkpoint from {}.")):
            yield from state.info(f"torch_checkpoint_engine.py:{line}:load", f"[Torch] {what.format(file)}")
    else:
        yield from state.main(f"[Torch] Begin Load checkpoint from {file}...")
        yield from state.main(f"[Torch] End Load checkpoint from {file}...")


LINES: Mapping[type, Wording] = {
    **SETUP,
    StepRecord: _step,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    RestoringRecord: _restoring,
}
"""Kinds of record that DeepSpeed has words for."""


def _ranks(state: DeepSpeedState) -> Container[int]:
    return range(state.run.world_size) if state.level == "info" else (0,)


VOICE = Voice(LINES, DeepSpeedState, _ranks)
