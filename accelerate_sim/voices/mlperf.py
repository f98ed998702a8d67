"""The voice of MLPerf Training: the ``:::MLLOG`` lines of mlperf-logging 4.1, one version for each benchmark.

Keys and their order are those of training results of round 5.1. The values are the run's, so a checker accepts the log
of a run that follows the benchmark's rules and reaches its target, and no other. The log ends with the validation that
reaches the target; the rest of the run is not part of the benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
from accelerate_sim.voices.voice import Line, Setting, Voice, VoiceState, Wording

TARGETS = {"llama31_8b": 3.3, "llama2_70b_lora": 0.925, "llama31_405b": 5.6}
"""Validation loss that ends a run, by benchmark."""
BETAS, EPSILON = (0.9, 0.95), 1e-5
"""AdamW's, which the config does not set."""
LORA_RANK, LORA_ALPHA = 16, 32
POINT, START, END = "POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"


class _MlPerf(VoiceState):
    """The position in blocks of training."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.script = "train.py"
        self.samples = 0
        self.block_begin = 0
        self.is_over = False
        self._encode = json.JSONEncoder().encode

    def line(self, event: str, key: str, value: Any = None, time: datetime | None = None, **metadata: Any) -> Line:
        """A line of mlperf-logging's logger."""
        time_ms = round((time or self.now()).timestamp() * 1000)
        entry = {
            "namespace": "", "time_ms": time_ms, "event_type": event, "key": key, "value": value,
            "metadata": {"file": self.script, "lineno": 0} | metadata,
        }  # fmt: skip
        return Line(f":::MLLOG {self._encode(entry)}")


def _launch(record: LaunchRecord, state: _MlPerf) -> Iterator[Line]:
    state.script = record.script
    run = state.run
    yield state.line(POINT, "cache_clear", True)
    yield state.line(START, "init_start")
    submission = {
        "submission_benchmark": state.version,
        "submission_org": state.options["submission_org"],
        "submission_division": state.options["submission_division"],
        "submission_status": "onprem",
        "submission_platform": f"{run.nodes}x{run.gpus_per_node}x{run.gpu}",
    }
    for key, value in submission.items():
        yield state.line(POINT, key, value)


def _data(record: DataRecord, state: _MlPerf) -> Iterator[Line]:
    for key, value in _hyperparameters(record, state).items():
        yield state.line(POINT, key, value)


def _hyperparameters(record: DataRecord, state: _MlPerf) -> dict[str, Any]:
    """Sizes and hyperparameters, with the keys that the benchmark asks for."""
    run, plan, train = state.run, state.plan, state.plan.config.train
    found: dict[str, Any] = {
        "seed": run.seed,
        "global_batch_size": plan.layout.global_batch,
        "train_samples": record.all_tokens // run.sequence_length,
        "eval_samples": plan.config.eval.batches * run.data_parallel * run.micro_batch,
        "max_sequence_length": run.sequence_length,
        "gradient_accumulation_steps": plan.layout.accumulation,
        "opt_name": train.optimizer,
        "opt_base_learning_rate": train.lr,
        "opt_adamw_weight_decay": train.weight_decay,
        "opt_gradient_clip_norm": train.max_grad_norm,
    }
    if state.version == "llama2_70b_lora":
        found |= {
            "opt_learning_rate_training_steps": plan.total_steps,
            "opt_learning_rate_warmup_factor": train.warmup_steps / plan.total_steps,
            "lora_rank": LORA_RANK, "lora_alpha": LORA_ALPHA,
        }  # fmt: skip
    else:
        found |= {
            "opt_adamw_beta_1": BETAS[0], "opt_adamw_beta_2": BETAS[1], "opt_adamw_epsilon": EPSILON,
            "opt_end_learning_rate": train.min_lr, "opt_learning_rate_warmup_steps": train.warmup_steps,
            "opt_learning_rate_decay_steps": plan.total_steps - train.warmup_steps,
            "opt_learning_rate_decay_schedule": f"{train.schedule} with linear warmup", "max_steps": plan.total_steps,
        }  # fmt: skip
    if state.version == "llama31_405b":
        found["init_checkpoint_step"] = 0
    return found | {"target_accuracy": TARGETS[state.version]}


def _run_start(record: DetectRecord, state: _MlPerf) -> Iterator[Line]:
    yield state.line(END, "init_stop")
    yield state.line(START, "run_start")
    yield _block_start(state)


def _block_start(state: _MlPerf) -> Line:
    state.block_begin = state.samples
    return state.line(START, "block_start", samples_count=state.samples, first_epoch_num=0)


def _restored(record: RestoredRecord, state: _MlPerf) -> Iterator[Line]:
    state.samples = record.step * state.plan.layout.global_batch
    yield state.line(POINT, "tracked_stats", {"resumed_step": record.step}, samples_count=state.samples)


def _step(record: StepRecord, state: _MlPerf) -> Iterator[Line]:
    state.samples = record.tokens // state.run.sequence_length
    if state.is_over or record.step % state.run.log_every:
        return
    stats = {"train_step_time": record.step_time_s, "reduced_train_loss": record.loss}
    yield state.line(POINT, "tracked_stats", stats, record.time, samples_count=state.samples)


def _evaluation(record: EvalRecord, state: _MlPerf) -> Iterator[Line]:
    if state.is_over:
        return
    samples, begin = state.samples, state.now() - timedelta(seconds=record.seconds)
    yield state.line(END, "block_stop", None, begin, samples_count=samples)
    yield state.line(START, "eval_start", None, begin, samples_count=samples)
    yield state.line(POINT, "eval_accuracy", record.loss, samples_count=samples)
    yield state.line(END, "eval_stop", samples_count=samples)
    if record.loss <= TARGETS[state.version]:
        state.is_over = True
        yield state.line(END, "run_stop", status="success", samples_count=samples)
    else:
        yield _block_start(state)


def _end(record: ExportingRecord | SummaryRecord, state: _MlPerf) -> Iterator[Line]:
    """The end of a run that has not reached the target."""
    if not state.is_over:
        state.is_over = True
        yield state.line(END, "block_stop", samples_count=state.samples)
        yield state.line(END, "run_stop", status="aborted", samples_count=state.samples)


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

VOICE = Voice(LINES, _MlPerf)
