"""``plan`` and ``telemetry``: figures before a run, and of its GPUs at any second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.api import ConfigError, FaultRecord, GpuRecord, plan, play, telemetry

SMALL = {
    "model": "gpt2", "cluster": {"nodes": 1, "gpus_per_node": 2}, "parallel": {"tensor": 1},
    "train": {"sequence_length": 1024},
}  # fmt: skip


def test_the_figures_of_a_plan_agree_with_each_other() -> None:
    report = plan("llama70b")
    assert report.world_size == report.nodes * report.gpus_per_node == 64
    assert report.parallel["data"] * report.parallel["tensor"] == 64
    assert report.global_batch == report.micro_batch * report.accumulation * report.parallel["data"]
    assert report.tokens_per_s == pytest.approx(report.tokens_per_step / report.step_s)
    assert sum(report.step_parts_s.values()) == pytest.approx(report.step_s)
    assert sum(report.memory_parts_bytes.values()) >= report.memory_bytes * 0.9
    assert report.memory_bytes < report.memory_total_bytes
    assert report.total_s > report.steps * report.step_s


def test_a_plan_is_what_the_command_line_shows(train) -> None:
    shown = train("--config", "llama70b", "--plan").stdout
    report = plan("llama70b")
    assert f"{report.parameters:,}" in shown
    assert f"{report.tokens_per_s:,.0f} tokens/s" in shown


def test_a_plan_can_be_written_as_json() -> None:
    report = plan(SMALL, ["train.micro_batch=4"])
    assert json.loads(json.dumps(report.to_dict()))["micro_batch"] == 4


def test_a_config_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(SMALL))  # JSON is YAML
    assert plan(path) == plan(str(path)) == plan(SMALL)


def test_every_problem_of_a_config_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        plan("debug", ["train.lr=-1", "cluster.gpu=H1000"])
    assert "train.lr" in str(caught.value)
    assert "H1000" in str(caught.value)


def test_a_reading_is_what_the_run_reports() -> None:
    look = next(record for record in play("debug") if isinstance(record, GpuRecord) and record.phase == "step")
    readings = telemetry("debug").at(look.elapsed_s - 1e-3)
    assert [each.temperature_c for each in readings] == look.temperature_c.tolist()
    assert [each.memory_used_bytes for each in readings] == look.memory_used_bytes.tolist()
    assert [(each.host, each.index) for each in readings] == [("node0", 0), ("node0", 1), ("node1", 0), ("node1", 1)]


def test_the_moment_says_what_happens_then() -> None:
    run = telemetry("llama70b")
    assert run.phase(-1.0) == "startup"
    assert (run.phase(50.0), run.step(50.0)) == ("step", 2)
    assert {each["elapsed_s"] for each in run.to_dicts(50.0)} == {50.0}


def test_the_faults_of_the_plan_are_those_that_strike() -> None:
    faults = ["kill rank=1 at=step:13", "slow gpu=0:1 factor=2 at=step:3 for=2steps"]
    report = plan("debug", faults=faults)
    assert [(each.kind, each.step, each.ends_attempt) for each in report.faults] == [
        ("slow", 3, False),
        ("kill", 13, True),
    ]
    assert report.faults == tuple(each for each in play("debug", faults=faults) if isinstance(each, FaultRecord))
    assert (report.attempts, report.finishes) == (2, True)
    assert json.loads(json.dumps(report.to_dict()))["faults"][1]["ranks"] == [1]


def test_a_plan_says_that_a_job_comes_to_no_end() -> None:
    report = plan("debug", ["faults.restarts=1"], faults=["kill rank=1 at=step:7 times=always"])
    assert (report.attempts, report.finishes, len(report.faults)) == (2, False, 2)


def test_a_run_without_faults_starts_once() -> None:
    report = plan("debug")
    assert (report.faults, report.attempts, report.finishes) == ((), 1, True)


def test_gpus_are_on_the_hosts_that_the_config_lists() -> None:
    readings = telemetry("debug", ["cluster.host=gpu-[007,12]"], at=5.0)
    assert [(each.host, each.index) for each in readings] == [
        ("gpu-007", 0), ("gpu-007", 1), ("gpu-12", 0), ("gpu-12", 1),
    ]  # fmt: skip
    assert readings == telemetry("debug", ["cluster.host=gpu-[007,12]"]).at(5.0)


@pytest.mark.parametrize("at", ["2h", float("nan"), float("inf")])
def test_telemetry_refuses_a_moment_that_is_no_number_of_seconds(at: Any) -> None:
    with pytest.raises(ConfigError, match=f"at = '?{at}'? is no number of seconds. Use simulated seconds"):
        telemetry("debug", at=at)
