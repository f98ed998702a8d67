"""Packages that read nvidia-smi read a job's GPUs, with each driver whose table they know."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import until
from tests.support.repository import ROOT

pytestmark = pytest.mark.real
DEADLINE_S = 60.0
SLOW = ("--config", "configs/debug.yaml", "--set", "run.speed=1", "--set", "train.epochs=500", "--publish")
SLOW += ("--set", "run.startup_speed=1000")

Played = Callable[[int], "contextmanager[int]"]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], object]:
    """``with played(driver) as pid``: a job of 2 GPUs a node runs, and ``nvidia-smi`` is on the path."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m accelerate_sim.monitoring.nvidia_smi "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    @contextmanager
    def job(driver: int) -> Iterator[int]:
        command = [sys.executable, "train.py", *SLOW, "--set", f"cluster.driver={driver}"]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout
                until(lambda: "step " in (process.stdout or sys.stdin).readline(), "a step is logged", DEADLINE_S)
                yield process.pid
            finally:
                process.kill()

    return job


@pytest.mark.parametrize("driver", [550, 570, 580, 590, 610])
def test_queries_are_read(played: Played, driver: int) -> None:
    gputil, nvsmi = pytest.importorskip("GPUtil"), pytest.importorskip("nvsmi")
    with played(driver) as pid:
        first = gputil.getGPUs()
        assert [(gpu.id, gpu.name, gpu.memoryTotal) for gpu in first] == [
            (place, "NVIDIA H100 80GB HBM3", 81559.0) for place in range(2)
        ]
        assert all(0.0 <= gpu.load <= 1.0 and 20.0 < gpu.temperature < 90.0 for gpu in first)
        assert {gpu.driver.partition(".")[0] for gpu in first} == {str(driver)}
        assert [gpu.uuid for gpu in nvsmi.get_gpus()] == [gpu.uuid for gpu in first]
        assert [each.pid for each in nvsmi.get_gpu_processes()] == [pid] * 2


@pytest.mark.parametrize("driver", [550, 570, 580, 590])
def test_the_table_is_read_line_by_line(played: Played, driver: int) -> None:
    nvgpu = pytest.importorskip("nvgpu")
    with played(driver):
        infos = nvgpu.gpu_info()
    assert [info["type"] for info in infos] == ["NVIDIA H100 80GB HBM3"] * 2
    assert all(info["mem_total"] == 81559 and 0 < info["mem_used"] < 81559 for info in infos)
