"""Real programs that read logs find in runs that are really played the fault that was planted, and none in clean runs.

Readers: the restart agent of nvidia-resiliency-ext 0.7 (its wheel, unzipped, on PYTHONPATH) and ``log_agent`` of
hyperpod-elastic-agent 1.1 (the folder ``src`` of its source on PYTHONPATH). Each test is skipped without its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.processes import until
from tests.support.repository import ROOT

LIMIT_S = 120.0
pytestmark = pytest.mark.real
AGENT = "nvidia_resiliency_ext.attribution.restart_agent"
SMALL = (
    "--config", str(ROOT / "configs/debug.yaml"), "--no-progress", "--set", "cluster.nodes=2",
    "--set", "cluster.gpus_per_node=2", "--set", "faults.restarts=0",
)  # fmt: skip


def output_of(tmp_path: Path, *arguments: str) -> str:
    """Everything that a run in one process prints, in its order."""
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, "--speed", "max", *arguments]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, cwd=tmp_path
    )
    return run.stdout


def primary(tmp_path: Path, output: str) -> str | None:
    """The class of the failure that the restart agent takes for the first."""
    pytest.importorskip(f"{AGENT}.l0.registry")
    log, result = tmp_path / "job.log", tmp_path / "result.json"
    log.write_text(output, encoding="utf-8")
    command = [sys.executable, "-m", f"{AGENT}.cli", str(log), "--disable-l1", "--job-id", "1", "--cycle-id", "0"]
    command += ["--deterministic-json-out", str(result)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if "No module named" in run.stderr:
        pytest.skip("the restart agent lacks a package of its own")
    assert run.returncode == 0, run.stderr
    found = json.loads(result.read_text())["candidate"]["result"]["primary_failure"] or {}
    failure_class: str | None = found.get("failure_class")
    return failure_class


@pytest.mark.parametrize(
    "fault, root",
    [
        ("oom rank=3 at=step:15", "cuda_oom"),
        ("hang rank=1 at=step:12", "observed_distributed_operation_timeout"),
        ("hang rank=2 how=stop at=step:3 timeout=30m", "observed_distributed_operation_timeout"),
        ("raise rank=2 at=step:7 error=ValueError", "observed_exception"),
    ],
)
def test_the_restart_agent_finds_the_planted_root(tmp_path: Path, fault: str, root: str) -> None:
    assert primary(tmp_path, output_of(tmp_path, "--fault", fault)) == root


@pytest.mark.parametrize("by, root", [("slurm", "infra_policy_event"), ("limit", "time_limit")])
def test_the_restart_agent_knows_a_scheduler(tmp_path: Path, by: str, root: str) -> None:
    output = output_of(tmp_path, "--fault", f"preempt by={by} at=step:14")
    # The agent prefers any traceback to the scheduler's line, and so the launcher's own one about SIGTERM is cut off.
    assert primary(tmp_path, output[: output.index("Traceback (most recent call last)")]) == root


def test_the_restart_agent_finds_nothing_in_ten_clean_runs(tmp_path: Path) -> None:
    found = [primary(tmp_path, output_of(tmp_path, "--seed", str(seed))) for seed in range(10)]
    assert found == [None] * 10


# --- The log agent ------------------------------------------------------------------------------


@pytest.fixture
def log_agent() -> ModuleType:
    places = [Path(folder) / "hyperpod_elastic_agent/logagent/log_agent.py" for folder in sys.path]
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        pytest.skip("needs the source of hyperpod-elastic-agent on PYTHONPATH")
    spec = importlib.util.spec_from_file_location("log_agent", source)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["log_agent"] = module  # its dataclasses look there for their types
    spec.loader.exec_module(module)
    return module


@contextmanager
def job(logs: Path, *arguments: str) -> Iterator[Path]:
    """A job of 4 ranks with a log directory: the folder of the first node's first attempt, once it is there."""
    command = [
        sys.executable,
        "-m",
        "fake_torch_dist.run",
        "--nnodes",
        "2",
        "--nproc-per-node",
        "2",
        "--log-dir",
        str(logs),
        "--redirects",
        "3",
        "--shutdown-timeout",
        "1",
        str(ROOT / "train.py"),
        *SMALL,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *arguments], env=environment, cwd=logs.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    try:
        until(lambda: list(logs.glob("node0/*/attempt_0")), "the logs of the first attempt are there", LIMIT_S)
        yield next(logs.glob("node0/*/attempt_0"))
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def states(module: ModuleType, attempt: Path, rules: list[dict[str, Any]], last: str) -> list[str]:
    """The states of rank 0 in the eyes of the agent, until it is in the last one."""
    agent, seen = module.LogAgent(1), [""]
    agent.start(str(attempt), {0}, rules)

    def is_last() -> bool:
        (state,) = agent.log_state
        if state.value != seen[-1]:
            seen.append(state.value)
        return seen[-1] == last

    try:
        until(is_last, f"the agent says {last}", LIMIT_S)
    finally:
        agent.stop()
    return seen[1:]


STEPS = {"name": "steps", "logPattern": r".*step \d+ \|", "expectedRecurringFrequencyInSeconds": 4}


def test_the_log_agent_says_that_a_job_hangs(log_agent: ModuleType, tmp_path: Path) -> None:
    words = ["--fault", "hang rank=1 at=step:11 timeout=2h", "--speed", "1", "--set", "log.every=1"]
    with job(tmp_path / "logs", *words, "--set", "run.startup_speed=1000") as attempt:
        assert states(log_agent, attempt, [STEPS], "HANGING")[-2:] == ["HEALTHY", "HANGING"]


def test_the_log_agent_says_that_a_job_has_a_fault(log_agent: ModuleType, tmp_path: Path) -> None:
    words = ["--fault", "nan at=step:8", "--speed", "1", "--set", "log.every=1", "--set", "run.startup_speed=1000"]
    rule = {"name": "nan", "logPattern": r".*loss nan", "faultOnMatch": True}
    with job(tmp_path / "logs", *words) as attempt:
        assert states(log_agent, attempt, [STEPS, rule], "FAULTED")[-1] == "FAULTED"
