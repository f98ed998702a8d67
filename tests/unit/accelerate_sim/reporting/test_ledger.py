"""The account that is kept of a run as it reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from accelerate_sim.accelerator import Accelerator
from accelerate_sim.records import CheckpointRecord, EvalRecord, ExportRecord, GpuRecord, StepRecord
from accelerate_sim.reporting.build import start_record
from accelerate_sim.reporting.ledger import Ledger
from accelerate_sim.session.session import Session

Accelerate = Callable[..., Accelerator]
GIB = 2**30
STEP = StepRecord(
    run=1, epoch=1, step=1, time=datetime(2026, 1, 1), elapsed_s=2.0, step_time_s=2.0, loss=3.0,
    perplexity=round(math.exp(3), 4), grad_norm=1.0, lr=1e-4, global_batch=24, tokens=24_576,
    tokens_per_s=12_288.0, mfu=0.1, memory_used_bytes=10 * GIB,
)  # fmt: skip
LAST = replace(STEP, step=2, step_time_s=4.0, loss=2.5, perplexity=12.1825, tokens=49_152)


def gpus(utilization: float, memory_gib: int) -> GpuRecord:
    each = np.full(8, utilization)
    return GpuRecord(1, 2, 4, 80 * GIB, 700.0, 87.0, each, np.full(8, memory_gib * GIB), each, each, each, "step", 9.0)


@pytest.fixture
def ledger(accelerate: Accelerate) -> Ledger:
    return accelerate().active.ledger


def test_summary_adds_up_what_was_reported(ledger: Ledger, session: Session) -> None:
    for record in (
        STEP, LAST, gpus(98.0, 12), gpus(96.0, 11), CheckpointRecord(1, 2, "out/a", 10**9, 5.0),
        EvalRecord(1, 1, 2, 2.7, 14.8797, 3.0, True), EvalRecord(1, 1, 2, 2.8, 16.4446, 3.0, False),
        ExportRecord(1, "out/final", (("model.safetensors", 5),), 5, 7.0, 1),
    ):  # fmt: skip
        ledger.observe(record)
    session.clock.advance(100.0)
    summary = ledger.summary()
    assert (summary.total_time_s, summary.train_time_s) == (100.0, 6.0 + 5.0 + 6.0)
    assert (summary.steps, summary.tokens, summary.epochs) == (2, 49_152, 1)
    assert (summary.final_loss, summary.final_perplexity) == (2.5, 12.1825)
    assert (summary.best_loss, summary.best_perplexity) == (2.7, 14.8797)
    assert summary.mean_tokens_per_s == 49_152 / 6
    assert summary.mean_gpu_utilization_pct == 97.0
    assert summary.peak_memory_bytes == 12 * GIB
    assert (summary.export_path, summary.export_bytes) == ("out/final", 5)


def test_energy_lies_between_idling_and_the_limit(ledger: Ledger, session: Session) -> None:
    """And training draws more than waiting for its end."""
    ledger.observe(STEP)
    session.clock.advance(2.0)
    training = ledger.summary().energy_j
    session.clock.advance(2.0)
    waiting = ledger.summary().energy_j - training
    gpu = ledger.run.gpu
    assert 8 * 2.0 * gpu.idle_w < waiting < training < 8 * 2.0 * gpu.power_limit_w


def test_without_a_grid_or_a_validation_there_is_a_summary(ledger: Ledger) -> None:
    """Utilisation and memory are looked up then; the best loss is the last."""
    ledger.observe(STEP)
    summary = ledger.summary()
    assert 90 < summary.mean_gpu_utilization_pct <= 100
    assert summary.peak_memory_bytes >= STEP.memory_used_bytes
    assert (summary.best_loss, summary.best_perplexity) == (STEP.loss, STEP.perplexity)
    assert (summary.export_path, summary.export_bytes) == ("", 0)


def test_start_has_the_plan(accelerate: Accelerate) -> None:
    run = accelerate().run
    record = start_record(run, datetime(2026, 1, 1, 12))
    assert record.start_time == "2026-01-01T12:00:00.000"
    plan = record.plan
    assert (plan["params"], plan["world_size"], plan["global_batch"]) == (124_439_808, 8, 24)
    assert plan["data_parallel"] * plan["micro_batch"] * plan["accumulation"] == plan["global_batch"]
    assert record.config["train"]["global_batch"] == 24
