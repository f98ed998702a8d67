"""The set-up lines of DeepSpeed's voice: the accelerator, the backend, the optimizer and the configuration.

Sources: the modules real_accelerator, comm, engine, config and zero at 0.16.9 and 0.18.9.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from accelerate_sim.records import ConnectRecord, LaunchRecord
from accelerate_sim.voices.deepspeed_state import DeepSpeedState
from accelerate_sim.voices.voice import Line, Wording

SCHEDULES = {"cosine": "WarmupCosineLR", "linear": "WarmupDecayLR", "constant": "WarmupLR"}
"""Schedulers of DeepSpeed by ``train.schedule``."""
STAGES = {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp": 3}
BUCKET = 500_000_000


def _launch(record: LaunchRecord, state: DeepSpeedState) -> Iterator[Line]:
    where = f"real_accelerator.py:{state.places.accelerator}:get_accelerator"
    for rank in range(state.run.world_size):
        yield from state.info(where, "Setting ds_accelerator to cuda (auto detect)", rank)


def _connected(record: ConnectRecord, state: DeepSpeedState) -> Iterator[Line]:
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


def _optimizer(state: DeepSpeedState) -> Iterator[Line]:
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


def _configuration(state: DeepSpeedState) -> Iterator[Line]:
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


SETUP: Mapping[type, Wording] = {LaunchRecord: _launch, ConnectRecord: _connected}
"""Kinds of record of the set-up."""
