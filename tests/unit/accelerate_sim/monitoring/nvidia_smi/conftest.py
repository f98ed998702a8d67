"""A job of which every moment can be looked at, without a process that plays it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.monitoring.nvidia_smi.node import reading
from accelerate_sim.monitoring.nvidia_smi.reading import Reading
from accelerate_sim.monitoring.published_job import PublishedJob
from accelerate_sim.sim.run import Run

COMMAND = "/home/user/miniconda3/envs/llama/bin/python3.11"

Look = Callable[..., Reading]


@cache
def run_on(gpu: str, nodes: int = 8, driver: int | None = None, steps: int = 1_000_000) -> Run:
    """A small model on 8 GPUs in each node, for weeks unless there are few steps."""
    changes: dict[str, Any] = {
        "model": "gpt2",
        "cluster": {"gpu": gpu, "nodes": nodes, "driver": driver},
        "parallel": {"tensor": 1, "sharding": "ddp"},
        "train": {"sequence_length": 1024, "steps_per_epoch": steps},
        "checkpoint": {"every": 0},
    }
    return Run(RunConfig.model_validate(changes))


def job_of(run: Run) -> PublishedJob:
    config = run.config.model_dump(mode="json")
    return PublishedJob(1, 42, config, 0.0, "2026-01-05T09:30:00", (4711,), 1, COMMAND)


@pytest.fixture
def look() -> Look:
    """``look(gpu, second)``: the first node, so many seconds after the first step began."""

    def at(
        gpu: str = "H100-SXM", second: float = 1000.0, node: int = 0, driver: int | None = None, steps: int = 1_000_000
    ) -> Reading:
        return reading_at(gpu, second, node, driver, steps)

    return at


@cache
def reading_at(gpu: str, second: float, node: int, driver: int | None, steps: int) -> Reading:
    run = run_on(gpu, driver=driver, steps=steps)
    return reading(run, job_of(run), run.startup.total + second, node)
