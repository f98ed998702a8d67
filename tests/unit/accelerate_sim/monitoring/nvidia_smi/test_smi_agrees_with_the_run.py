"""The viewer computes the figures that the run itself showed at that moment."""

from __future__ import annotations

import re

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.monitoring.nvidia_smi.node import reading
from accelerate_sim.monitoring.nvidia_smi.options import CsvFormat
from accelerate_sim.monitoring.nvidia_smi.overview import table
from accelerate_sim.monitoring.nvidia_smi.query import Query
from accelerate_sim.monitoring.nvidia_smi.reading import BRAKE, SLOWDOWN, THERMAL
from accelerate_sim.monitoring.nvidia_smi.report import text_log, xml_log
from accelerate_sim.monitoring.published_job import PublishedJob
from accelerate_sim.sim.run import Run
from tests.support.reading import Played

MOMENT_S = 1e-3
"""Before the end of its step the run looks at its GPUs."""


def published(played: Played) -> tuple[Run, PublishedJob]:
    start = played.start
    job = PublishedJob(start["run"], start["seed"], start["config"], 0.0, start["start_time"], (4711,), 1, "python")
    return Run(RunConfig.model_validate_json(job.config_text()), job.run), job


@pytest.mark.parametrize("name", ["small", "llama", "experts", "drawn"])
def test_every_grid_of_the_run(name: str, request: pytest.FixtureRequest):
    played: Played = request.getfixturevalue(name)
    run, job = published(played)
    ends = {event["step"]: event["elapsed_s"] for event in played.of("step")}
    grids = played.stepping_gpus
    assert grids
    for grid in grids[:: max(1, len(grids) // 8)]:
        clock_s = run.startup.total + ends[grid["step"]] - MOMENT_S
        gpus = [gpu for node in range(run.layout.nodes) for gpu in reading(run, job, clock_s, node).gpus]
        assert [gpu.utilization_pct for gpu in gpus] == grid["utilization_pct"]
        assert [gpu.used_mib << 20 for gpu in gpus] == grid["memory_used_bytes"]
        assert [gpu.temperature_c for gpu in gpus] == np.rint(grid["temperature_c"]).tolist()
        assert [gpu.power_w for gpu in gpus] == grid["power_w"]


def test_the_step_under_way(small: Played):
    run, _ = published(small)
    ends = [run.timeline.step_end_s(step) for step in range(run.last_step)]
    assert run.timeline.step_at(-5.0) == 0
    assert [run.timeline.step_at(end - MOMENT_S) for end in ends] == list(range(run.last_step))
    assert [run.timeline.step_at(end) for end in ends[:-1]] == list(range(1, run.last_step))
    assert run.timeline.step_at(ends[-1] + 1e6) == run.last_step - 1


def test_a_gpu_that_runs_hot_says_why_its_clock_is_low(llama: Played):
    run, job = published(llama)
    warnings = [event for event in llama.of("warning") if event["kind"] == "hot"]
    assert warnings
    for warning in warnings:
        end_s = run.timeline.step_end_s(warning["step"] - 1)
        node, local = divmod(warning["rank"], run.layout.gpus_per_node)
        gpu = reading(run, job, run.startup.total + end_s - MOMENT_S, node).gpus[local]
        assert gpu.clock_mhz == warning["figures"]["sm_clock_mhz"] < gpu.max_clock_mhz
        assert gpu.reasons in (THERMAL, SLOWDOWN | BRAKE)
        step_us = 1e6 * (end_s - run.timeline.step_end_s(warning["step"] - 2))
        slowed = gpu.slowed_time()
        assert slowed.thermal_us + slowed.braked_us >= 0.99 * step_us
        later = reading(run, job, run.startup.total + end_s + 3600.0, node).gpus[local].slowed_time()
        assert later.thermal_us >= slowed.thermal_us and later.braked_us >= slowed.braked_us


def test_after_the_run_the_gpus_are_idle(small: Played):
    run, job = published(small)
    gpus = reading(run, job, run.startup.total + run.timeline.end_s() + 3600.0).gpus
    assert max(gpu.utilization_pct for gpu in gpus) <= 3
    assert max(gpu.power_w for gpu in gpus) < 0.3 * gpus[0].power_limit_w


def test_a_gpu_without_a_context_has_no_process(small: Played):
    """Before the job holds memory, and after it has given it back; all texts say so as the tool does."""
    run, job = published(small)
    while_loading = reading(run, job, 0.3 * run.startup.weights)
    gone = reading(run, job, run.startup.total + run.timeline.end_s() + 3600.0)
    apps = Query.of("compute-apps", "pid,used_gpu_memory", 550)
    assert len(apps.rows(while_loading, CsvFormat()).splitlines()) == len(while_loading.gpus)
    assert apps.rows(gone, CsvFormat()) == ""
    assert "No running processes found" not in table(while_loading)
    line = next(line for line in table(gone).splitlines() if "No running processes found" in line)
    assert len(line) == len(table(gone).splitlines()[-1])
    assert str(job.pid) not in table(gone)
    assert re.search(r"(?m)^ {4}Processes +: None$", text_log(gone, ()))
    assert "<process_info>" in xml_log(while_loading)
    assert "<process_info>" not in xml_log(gone)
