"""Launchers of PyTorch start ``train.py`` and scripts on ``fake_torch_dist``, which run as under fake-torchrun."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.repository import ROOT

pytestmark = pytest.mark.real

LIMIT_S = 240.0
SUM = """
import numpy as np
import fake_torch_dist as dist
for _ in range(2):
    dist.init_process_group("gloo")
    x = np.ones(3) * (dist.get_rank() + 1)
    dist.all_reduce(x)
    assert x.tolist() == [3.0] * 3, x
    dist.destroy_process_group()
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no",
]  # fmt: skip


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )  # fmt: skip


def launcher(name: str) -> list[str]:
    for module in ("torch", *(["accelerate"] if name == "accelerate" else [])):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}")
    if name == "accelerate":
        return [*ACCELERATE, "--main_process_port", str(free_port())]
    if name == "static":
        return [*TORCHRUN, "--master-port", str(free_port())]
    return [*TORCHRUN, *(["--standalone"] if name == "standalone" else [])]


@pytest.mark.parametrize("name", ["static", "standalone", "accelerate"])
def test_train_py_runs(name: str, tmp_path: Path):
    script = [str(ROOT / "train.py"), "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max"]
    ended = run([*launcher(name), *script], tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Training finished successfully") == 1
    assert "train.py on 1 node x 2 GPUs = 2 ranks" in ended.stdout
    assert "local process index: 1" in ended.stdout


@pytest.mark.parametrize("name", ["static", "standalone", "accelerate"])
def test_a_script_on_fake_torch_dist_runs(name: str, tmp_path: Path):
    (tmp_path / "sum.py").write_text(SUM)
    ended = run([*launcher(name), "sum.py"], tmp_path)
    assert ended.returncode == 0, ended.stderr
