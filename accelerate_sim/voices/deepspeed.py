"""The voice of DeepSpeed's engine: the lines of its logger, two of them for each printed step.

Formats are those of its modules logging, comm, timer, engine, config, zero and checkpoint engine at 0.16.9 and 0.18.9
(deepspeedai/DeepSpeed). Since 0.17.6 the logger's level is WARNING, so 0.18 says nothing of steps unless ``log_level``
is info. The engine's timer leaves out the first two steps. Every rank logs its accelerator and its backend, and in 0.16
that a checkpoint is ready; rank 0 logs the rest. Not played: memory around the optimizer's states.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

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
SCHEDULES = {"cosine": "WarmupCosineLR", "linear": "WarmupDecayLR", "constant": "WarmupLR"}
"""Schedulers of DeepSpeed by ``train.schedule``."""
FIRST_COUNTED = 2
"""Steps that the engine's timer leaves out, and prints no line for."""
STAGES = {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp": 3}


class _Places(NamedTuple):
    """Release of a version, and files and lines of its calls of the logger."""

    release: str
    log_dist: str
    accelerator: str
    backend: str
    init: str
    config: str
    json: str
    zero_check: str


PLACES = {
    "0.16": _Places("0.16.9", "107", "254", "669", "700", "1007", "993", "59"),
    "0.18": _Places("0.18.9", "123", "225", "821", "852", "962", "948", "66"),
}
BUCKET = 500_000_000


class _DeepSpeed(VoiceState):
    """Times and samples for the running average."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.level = self.options["log_level"] or ("info" if self.version == "0.16" else "warning")
        self.places = PLACES[self.version]
        self.is_old = self.version == "0.16"
        self.steps = self.samples = self.micro_steps = self.skipped = 0
        self.seconds = 0.0
        use = self.plan.memory
        self.allocated = (use.weights + use.gradients + use.optimizer) / GIB
        self.max_allocated = use.allocated / GIB

    def info(self, where: str, text: str, rank: int = 0) -> Iterator[Line]:
        """A line of DeepSpeed's logger; ``where`` is file, line and function."""
        if self.level == "info":
            yield Line(f"[{asctime(self.now())}] [INFO] [{where}] {text}", rank=rank)

    def main(self, text: str) -> Iterator[Line]:
        """A line that names rank 0, which alone logs it."""
        return self.info(f"logging.py:{self.places.log_dist}:log_dist", f"[Rank 0] {text}")


def _launch(record: LaunchRecord, state: _DeepSpeed) -> Iterator[Line]:
    where = f"real_accelerator.py:{state.places.accelerator}:get_accelerator"
    for rank in range(state.run.world_size):
        yield from state.info(where, "Setting ds_accelerator to cuda (auto detect)", rank)


def _connected(record: ConnectRecord, state: _DeepSpeed) -> Iterator[Line]:
    places = state.places
    for rank in range(state.run.world_size):
        yield from state.info(f"comm.py:{places.backend}:init_distributed", "cdb=None", rank)
    where = f"comm.py:{places.init}:init_distributed"
    yield from state.info(where, "Initializing TorchBackend in DeepSpeed with backend nccl")
    yield from state.main(f"DeepSpeed info: version={places.release}, git-hash=unknown, git-branch=unknown")
    yield from state.main("DeepSpeed Flops Profiler Enabled: False")
    yield from state.main("Using DeepSpeed Optimizer param name adamw as basic optimizer")
    yield from state.main("Removing param_group that has no 'params' in the basic Optimizer")
    yield from state.main("DeepSpeed Basic Optimizer = FusedAdam")
    yield from _optimizer(state)
    schedule = SCHEDULES.get(state.plan.config.train.schedule, "WarmupDecayLR")
    yield from state.main(f"DeepSpeed using configured LR scheduler = {schedule}")
    address = f"0x{0x7F00_0000_0000 + state.run.seed % 2**24 * 16:012x}"
    yield from state.main(f"DeepSpeed LR Scheduler = <deepspeed.runtime.lr_schedules.{schedule} object at {address}>")
    yield from state.main("step=0, skipped=0, lr=[0.0, 0.0], mom=[(0.9, 0.95), (0.9, 0.95)]")
    if not state.is_old:
        yield from state.main("[TorchCheckpointEngine] Initialized with serialization = True")
    yield from _configuration(state)


def _optimizer(state: _DeepSpeed) -> Iterator[Line]:
    """The lines of the optimizer that is put around the basic one."""
    stage, kind = STAGES[state.plan.layout.sharding], state.plan.config.train.precision
    if stage == 0:
        what = "fp16 optimizer with dynamic loss scale" if kind == "fp16" else "BF16 optimizer"
        yield from state.main(f"Creating {what}")
        yield from state.main(f"DeepSpeed Final Optimizer = {'FP16_Optimizer' if kind == 'fp16' else 'BF16_Optimizer'}")
        return
    dtype = "float16" if kind == "fp16" else "bfloat16"
    kinds = "optimizer=FusedAdam type=<class 'deepspeed.ops.adam.fused_adam.FusedAdam'>"
    where = f"utils.py:{state.places.zero_check}:is_zero_supported_optimizer"
    yield from state.info(where, f"Checking ZeRO support for {kinds}")
    yield from state.main(f"Creating torch.{dtype} ZeRO stage {stage} optimizer")
    if stage == 3:
        rows = {"Reduce": BUCKET, "Prefetch": BUCKET // 10}
        file, first = "stage3.py", 170 if state.is_old else 203
    else:
        rows = {"Reduce": BUCKET, "Allgather": BUCKET}
        file, first = "stage_1_and_2.py", 150 if state.is_old else 188
    for number, (name, size) in enumerate(rows.items()):
        yield from state.info(f"{file}:{first + number}:__init__", f"{name} bucket size {size}")
    if stage < 3:
        yield from state.info(f"{file}:{first + 2}:__init__", "CPU Offload: False")
        yield from state.info(f"{file}:{first + 3}:__init__", "Round robin gradient partitioning: False")
        if not state.is_old:
            for group in range(2):
                yield from state.info(
                    f"{file}:419:__init__", f"Flattening param group {group} on GPU (sufficient VRAM)"
                )
    done = {"stage3.py": 534 if state.is_old else 619}.get(file, 557 if state.is_old else 642)
    yield from state.info(f"{file}:{done}:__init__", "optimizer state initialized")
    name = "DeepSpeedZeroOptimizer_Stage3" if stage == 3 else "DeepSpeedZeroOptimizer"
    yield from state.main(f"DeepSpeed Final Optimizer = {name}")


def _configuration(state: _DeepSpeed) -> Iterator[Line]:
    """The engine's configuration, as far as the run decides it, and the file that it was read from."""
    train, layout, run = state.plan.config.train, state.plan.layout, state.run
    stage = STAGES[layout.sharding]
    optimizer = {"lr": train.lr, "betas": [0.9, 0.95], "weight_decay": train.weight_decay}
    is_16 = train.precision == "fp16"
    kinds: dict[str, object] = {"bfloat16_enabled": not is_16, "fp16_enabled": is_16}
    if not state.is_old:
        rest = {"immediate_grad_update": False, "check_grad_overflow": True, "bf16_master_weights_and_grads": False,
                "bf16_optimizer_states": False}  # fmt: skip
        rest = {"enabled": not is_16} | rest
        kinds = {"bfloat16_config": " ".join(f"{name}={value}" for name, value in rest.items())}
    values: dict[str, object] = kinds | {
        "gradient_accumulation_steps": layout.accumulation, "gradient_clipping": train.max_grad_norm,
        "optimizer_name": "adamw", "optimizer_params": optimizer, "steps_per_print": run.log_every,
        "train_batch_size": layout.global_batch, "train_micro_batch_size_per_gpu": layout.micro_batch,
        "wall_clock_breakdown": False, "world_size": layout.data, "zero_enabled": stage > 0,
        "zero_optimization_stage": stage,
    }  # fmt: skip
    where = f"config.py:{state.places.config}:print"
    yield from state.info(f"config.py:{int(state.places.config) - 4}:print", "DeepSpeedEngine configuration:")
    for name, value in values.items():
        yield from state.info(where, f"  {name} {'.' * (29 - len(name))} {value}")
    given = {
        "train_batch_size": layout.global_batch, "train_micro_batch_size_per_gpu": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation, "steps_per_print": run.log_every,
        "gradient_clipping": train.max_grad_norm,
        "optimizer": {"type": "AdamW", "params": {"lr": train.lr, "weight_decay": train.weight_decay}},
        "fp16" if train.precision == "fp16" else "bf16": {"enabled": True}, "zero_optimization": {"stage": stage},
    }  # fmt: skip
    text = json.dumps(given, indent=4, separators=(", ", ": "))
    yield from state.info(f"config.py:{state.places.json}:print_user_config", f"  json = {text}")


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


def _saving(record: SavingRecord, state: _DeepSpeed) -> Iterator[Line]:
    tag = f"global_step{record.step}"
    path = Path(record.path).parent / tag / "mp_rank_00_model_states.pt"
    yield from state.main(f"[Torch] Checkpoint {tag} is about to be saved!")
    if state.is_old:
        yield from state.info("logging.py:107:log_dist", f"[Rank 0] Saving model checkpoint: {path}")
        yield from state.info("torch_checkpoint_engine.py:21:save", f"[Torch] Saving {path}...")
    else:
        yield from state.main(f"Saving model checkpoint: {path}")


def _saved(record: CheckpointRecord, state: _DeepSpeed) -> Iterator[Line]:
    if not state.is_old:
        return  # newer releases say nothing when it is done
    tag = f"global_step{record.step}"
    path = Path(record.path).parent / tag / "mp_rank_00_model_states.pt"
    yield from state.info("torch_checkpoint_engine.py:23:save", f"[Torch] Saved {path}.")
    for rank in range(state.run.world_size):
        where = "torch_checkpoint_engine.py:33:commit"
        yield from state.info(where, f"[Torch] Checkpoint {tag} is ready now!", rank)


def _restoring(record: RestoringRecord, state: _DeepSpeed) -> Iterator[Line]:
    path = Path(record.path)
    file = path.parent / path.name.replace("checkpoint-", "global_step") / "mp_rank_00_model_states.pt"
    if state.is_old:
        for line, what in ((27, "Loading checkpoint from {}..."), (29, "Loaded checkpoint from {}.")):
            yield from state.info(f"torch_checkpoint_engine.py:{line}:load", f"[Torch] {what.format(file)}")
    else:
        yield from state.main(f"[Torch] Begin Load checkpoint from {file}...")
        yield from state.main(f"[Torch] End Load checkpoint from {file}...")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ConnectRecord: _connected,
    StepRecord: _step,
    SavingRecord: _saving,
    CheckpointRecord: _saved,
    RestoringRecord: _restoring,
}
"""Kinds of record that DeepSpeed has words for."""


def _ranks(state: _DeepSpeed) -> Container[int]:
    return range(state.run.world_size) if state.level == "info" else (0,)


VOICE = Voice(LINES, _DeepSpeed, _ranks)
