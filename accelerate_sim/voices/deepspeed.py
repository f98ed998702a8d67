"""The voice of DeepSpeed's engine: the lines of its logger, two of them for each printed step.

Formats are those of its modules logging, timer, engine and checkpoint engine at 0.16 and at 0.18
(deepspeedai/DeepSpeed, edaa7221). Since 0.17.6 the logger's level is WARNING, so 0.18 says nothing of steps unless
``log_level`` is info. The running average leaves out the first two steps, as the engine's timer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from accelerate_sim.records import (
    CheckpointRecord,
    ConnectRecord,
    LaunchRecord,
    RestoringRecord,
    SavingRecord,
    StepRecord,
)
from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

GIB = 2**30
FIRST_COUNTED = 2
"""Steps that the running average leaves out."""
STAGES = {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp": 3}
RELEASES = {"0.16": "0.16.9", "0.18": "0.18.9"}


class _DeepSpeed(VoiceState):
    """Times and samples for the running average."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.level = self.options["log_level"] or ("info" if self.version == "0.16" else "warning")
        self.log_dist = "logging.py:128:log_dist" if self.version == "0.16" else "logging.py:107:log_dist"
        self.steps = self.samples = self.micro_steps = self.skipped = 0
        self.seconds = 0.0
        use = self.plan.memory
        self.allocated = (use.weights + use.gradients + use.optimizer) / GIB
        self.max_allocated = use.allocated / GIB

    def info(self, where: str, text: str) -> Iterator[Line]:
        """A line of DeepSpeed's logger; ``where`` is file, line and function."""
        if self.level == "info":
            yield Line(f"[{asctime(self.now())}] [INFO] [{where}] {text}")


def _launch(record: LaunchRecord, state: _DeepSpeed) -> Iterator[Line]:
    yield from state.info("real_accelerator.py:239:get_accelerator", "Setting ds_accelerator to cuda (auto detect)")


def _connected(record: ConnectRecord, state: _DeepSpeed) -> Iterator[Line]:
    yield from state.info("comm.py:658:init_distributed", "cdb=None")
    version = RELEASES[state.version]
    yield from state.info(
        state.log_dist, f"[Rank 0] DeepSpeed info: version={version}, git-hash=unknown, git-branch=unknown"
    )
    yield from state.info(state.log_dist, "[Rank 0] DeepSpeed Flops Profiler Enabled: False")
    yield from state.info(state.log_dist, "[Rank 0] DeepSpeed Basic Optimizer = AdamW")
    stage = STAGES[state.plan.layout.sharding]
    yield from state.info(state.log_dist, f"[Rank 0] Creating torch.bfloat16 ZeRO stage {stage} optimizer")


def _step(record: StepRecord, state: _DeepSpeed) -> Iterator[Line]:
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
    yield from state.info(
        state.log_dist,
        f"[Rank 0] step={record.step}, skipped={state.skipped}, lr=[{lr}, {lr}], mom=[(0.9, 0.95), (0.9, 0.95)]",
    )
    average = state.samples / state.seconds if state.seconds else float("-inf")
    yield from state.info(
        "timer.py:264:stop",
        f"epoch={record.epoch - 1}/micro_step={state.micro_steps}/global_step={record.step}, "
        f"RunningAvgSamplesPerSec={average}, CurrSamplesPerSec={record.global_batch / record.step_time_s}, "
        f"MemAllocated={round(state.allocated, 2)}GB, MaxMemAllocated={round(state.max_allocated, 2)}GB",
    )


def _saving(record: SavingRecord, state: _DeepSpeed) -> Iterator[Line]:
    tag = f"global_step{record.step}"
    path = Path(record.path).parent / tag / "mp_rank_00_model_states.pt"
    yield from state.info(state.log_dist, f"[Rank 0] [Torch] Checkpoint {tag} is about to be saved!")
    yield from state.info("torch_checkpoint_engine.py:21:save", f"[Torch] Saving {path}...")


def _saved(record: CheckpointRecord, state: _DeepSpeed) -> Iterator[Line]:
    tag = f"global_step{record.step}"
    path = Path(record.path).parent / tag / "mp_rank_00_model_states.pt"
    yield from state.info("torch_checkpoint_engine.py:23:save", f"[Torch] Saved {path}.")
    yield from state.info("torch_checkpoint_engine.py:33:commit", f"[Torch] Checkpoint {tag} is ready now!")


def _restoring(record: RestoringRecord, state: _DeepSpeed) -> Iterator[Line]:
    path = Path(record.path)
    tag = path.name.replace("checkpoint-", "global_step")
    yield from state.info(
        "torch_checkpoint_engine.py:27:load", f"[Torch] Loading checkpoint from {path.parent / tag}..."
    )


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ConnectRecord: _connected,
    StepRecord: _step,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    RestoringRecord: _restoring,
}
"""Kinds of record that DeepSpeed has words for."""

VOICE = Voice(LINES, _DeepSpeed)
