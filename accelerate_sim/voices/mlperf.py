"""The voice of MLPerf Training: the ``:::MLLOG`` lines of mlperf-logging 4.1, one version for each benchmark.

Keys, their order, and the files and lines that log them are those of NVIDIA's results of round 5.1, whose program
others run, too (mlcommons/training_results_v5.1): each node clears its cache, and rank 0 logs the rest. The values
are the run's, so a checker accepts the log of a run that follows the benchmark's rules and reaches its target, and no
other. The log ends with the validation that reaches the target; the rest of the run is not part of the benchmark. Not
played: the time of each batch of a validation, and that of the rest of the initialization.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from accelerate_sim.records import (
    DataRecord,
    DetectRecord,
    EvalRecord,
    ExportingRecord,
    LaunchRecord,
    RestoredRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.voices.mlperf_logger import (
    ACCURACY,
    BLOCK_START,
    BLOCK_STOP,
    END,
    EVAL_START,
    EVAL_STOP,
    HYPERPARAMETERS,
    INIT,
    LORA_INIT,
    LORA_PLACES,
    LORA_STEP,
    LORA_SUBMISSION,
    POINT,
    RUN,
    RUN_STOP,
    SHELL,
    SIZES,
    START,
    STATS,
    STEP,
    STEP_TIME,
    SUBMISSION,
    MlPerf,
    Place,
)
from accelerate_sim.voices.voice import Line, Voice, Wording

TARGETS = {"llama31_8b": 3.3, "llama2_70b_lora": 0.925, "llama31_405b": 5.6}
"""Validation loss that ends a run, by benchmark."""
BETAS, EPSILON = (0.9, 0.95), 1e-5
"""AdamW's, which the config does not set."""
LORA_RANK, LORA_ALPHA = 16, 32


def _launch(record: LaunchRecord, state: MlPerf) -> Iterator[Line]:
    run = state.run
    for node in range(run.nodes):
        yield state.line(POINT, "cache_clear", SHELL, True, rank=node * run.gpus_per_node)
    yield state.line(START, "init_start", LORA_INIT if state.is_lora else INIT)
    submission = {
        "submission_benchmark": state.version,
        "submission_org": state.options["submission_org"],
        "submission_division": state.options["submission_division"],
        "submission_status": "onprem",
        "submission_platform": f"{run.nodes}x{run.gpus_per_node}x{run.gpu}",
    }
    for key, value in submission.items():
        yield state.line(POINT, key, LORA_SUBMISSION if state.is_lora else SUBMISSION, value)


def _data(record: DataRecord, state: MlPerf) -> Iterator[Line]:
    state.data_time = state.now()
    for key, value in (_lora_hyperparameters if state.is_lora else _hyperparameters)(record, state).items():
        place = HYPERPARAMETERS
        if state.is_lora:
            place = Place(LORA_SUBMISSION.file, LORA_PLACES[key]) if key in LORA_PLACES else SIZES
        yield state.line(POINT, key, place, value)


def _hyperparameters(record: DataRecord, state: MlPerf) -> dict[str, Any]:
    """Sizes and hyperparameters of a pretraining, in the order in which they are logged."""
    run, plan, train = state.run, state.plan, state.plan.config.train
    return {
        "seed": run.seed,
        "global_batch_size": plan.layout.global_batch,
        "gradient_accumulation_steps": plan.layout.accumulation,
        "max_sequence_length": run.sequence_length,
        "eval_samples": _validated_samples(state),
        "train_samples": record.all_tokens // run.sequence_length,
        "init_checkpoint_step": 0,
        "opt_name": train.optimizer,
        "opt_base_learning_rate": train.lr,
        "opt_adamw_beta_1": BETAS[0],
        "opt_adamw_beta_2": BETAS[1],
        "opt_adamw_epsilon": EPSILON,
        "opt_adamw_weight_decay": train.weight_decay,
        "opt_gradient_clip_norm": train.max_grad_norm,
        "opt_end_learning_rate": train.min_lr,
        "opt_learning_rate_warmup_steps": train.warmup_steps,
        "opt_learning_rate_decay_steps": plan.total_steps - train.warmup_steps,
        "max_steps": plan.total_steps,
        "opt_learning_rate_decay_schedule": f"{train.schedule} with linear warmup",
        "target_accuracy": TARGETS[state.version],
    }


def _lora_hyperparameters(record: DataRecord, state: MlPerf) -> dict[str, Any]:
    """Hyperparameters and sizes of the fine-tuning, in the order in which they are logged."""
    plan, train = state.plan, state.plan.config.train
    return {
        "target_accuracy": TARGETS[state.version],
        "opt_base_learning_rate": train.lr,
        "opt_adamw_weight_decay": train.weight_decay,
        "opt_gradient_clip_norm": train.max_grad_norm,
        "opt_learning_rate_warmup_factor": train.warmup_steps / plan.total_steps,
        "lora_rank": LORA_RANK,
        "lora_alpha": LORA_ALPHA,
        "opt_learning_rate_training_steps": plan.total_steps,
        "global_batch_size": plan.layout.global_batch,
        "train_samples": record.all_tokens // state.run.sequence_length,
        "eval_samples": _validated_samples(state),
        "gradient_accumulation_steps": plan.layout.accumulation,
        "seed": state.run.seed,
    }


def _validated_samples(state: MlPerf) -> int:
    return state.plan.config.eval.batches * state.run.data_parallel * state.run.micro_batch


def _run_start(record: DetectRecord, state: MlPerf) -> Iterator[Line]:
    seconds = (state.now() - state.data_time).total_seconds()
    yield state.line(POINT, "tracked_stats", STATS, {"warmup_time": seconds}, step=0)
    yield state.line(END, "init_stop", RUN)
    yield state.line(START, "run_start", RUN)
    yield _block_start(state)


def _block_start(state: MlPerf) -> Line:
    state.block_step, state.block_samples, state.block_time = state.step, state.samples, state.now()
    planned = state.validated_every * state.plan.layout.global_batch
    return state.line(START, "block_start", BLOCK_START, samples_count=planned, step=state.step)


def _block_stop(state: MlPerf, time: datetime) -> Iterator[Line]:
    steps, samples = state.step - state.block_step, state.samples - state.block_samples
    if steps:
        seconds = (time - state.block_time).total_seconds() / steps
        stats = {"train_step_time": seconds}
        yield state.line(POINT, "tracked_stats", STEP_TIME, stats, time, samples_count=samples)
    yield state.line(END, "block_stop", BLOCK_STOP, None, time, samples_count=samples, step=state.step)


def _restored(record: RestoredRecord, state: MlPerf) -> Iterator[Line]:
    state.step, state.samples = record.step, record.step * state.plan.layout.global_batch
    state.block_step, state.block_samples, state.block_time = state.step, state.samples, state.now()
    yield state.line(POINT, "tracked_stats", STATS, {"resumed_step": record.step}, step=record.step)


def _step(record: StepRecord, state: MlPerf) -> Iterator[Line]:
    state.step, state.samples = record.step, record.tokens // state.run.sequence_length
    if state.is_over or record.step % state.run.log_every:
        return
    if state.is_lora:
        about = {"samples_count": state.samples, "lr": record.lr, "step": record.step}
        yield state.stats(LORA_STEP, {"train_loss": record.loss}, record.time, about)
    else:
        stats = {"train_step_time": record.step_time_s, "reduced_train_loss": record.loss}
        about = {"step": record.step - 1.0, "samples_count": float(state.samples)}
        yield state.stats(STEP, stats, record.time, about)


def _evaluation(record: EvalRecord, state: MlPerf) -> Iterator[Line]:
    if state.is_over:
        return
    begin = state.now() - timedelta(seconds=record.seconds)
    yield from _block_stop(state, begin)
    yield state.moment(START, "eval_start", EVAL_START, begin)
    yield state.line(POINT, "eval_accuracy", ACCURACY, record.loss, samples_count=state.samples)
    yield state.line(POINT, "tracked_stats", STATS, {"validation_time": record.seconds}, step=state.step)
    yield state.moment(END, "eval_stop", EVAL_STOP)
    if record.loss <= TARGETS[state.version]:
        yield _run_stop(state, "success")
    elif record.step < state.run.total_steps:
        yield _block_start(state)
    else:
        state.block_step = -1


def _run_stop(state: MlPerf, status: str) -> Line:
    state.is_over = True
    return state.line(END, "run_stop", RUN_STOP, step=state.step, samples_count=state.samples, status=status)


def _end(record: ExportingRecord | SummaryRecord, state: MlPerf) -> Iterator[Line]:
    """The end of a run that has not reached the target."""
    if not state.is_over:
        if state.block_step >= 0:
            yield from _block_stop(state, state.now())
        yield _run_stop(state, "aborted")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    DataRecord: _data,
    DetectRecord: _run_start,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    ExportingRecord: _end,
    SummaryRecord: _end,
}
"""Kinds of record that MLPerf's log mentions."""


def _ranks(state: MlPerf) -> Container[int]:
    return range(0, state.run.world_size, state.run.gpus_per_node)


VOICE = Voice(LINES, MlPerf, _ranks)
