"""The Ray script in ``configs/launchers``, as it stands, in a network namespace that has a loopback only."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import CONFIGS, ROOT

TORCH_TRAINER = """
import os, subprocess, sys
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

def work(options):
    import numpy as np
    import fake_torch_dist as dist
    dist.init_process_group("gloo")
    numbers = np.ones(3)
    dist.all_reduce(numbers)
    print(f"rank {dist.get_rank()} has {numbers.tolist()}", flush=True)
    dist.destroy_process_group()
    subprocess.run([sys.executable, *options["train"]], check=True)

ray.init(num_cpus=3)
told = {"scaling_config": ScalingConfig(num_workers=2), "run_config": RunConfig(storage_path=os.getcwd() + "/results")}
TorchTrainer(work, train_loop_config={"train": sys.argv[1:]}, **told).fit()
"""
NAMESPACES = [
    "unshare",
    *([] if os.geteuid() == 0 else ["--map-root-user"]),
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]
LIMIT_S = 280.0


def can_isolate() -> bool:
    """The kernel lets this user make namespaces, with which all processes of Ray end."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture(scope="module", autouse=True)
def isolation() -> None:
    """Skip the tests of this module where they cannot run."""
    if not can_isolate():
        pytest.skip("needs unshare, ip and namespaces")


pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray[train]"),
]


def in_a_namespace(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python script that starts a Ray of its own."""
    loopback = [*NAMESPACES, "bash", "-c", 'ip link set lo up; exec "$@"', "bash"]
    variables = {"HOME": str(cwd), "PYTHONPATH": str(ROOT), "RAY_DEDUP_LOGS": "0", "RAY_TMPDIR": "/tmp"}
    return subprocess.run(
        [*loopback, sys.executable, *words], cwd=cwd, env=dict(os.environ) | variables, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


@pytest.mark.timeout(LIMIT_S + 20)
def test_actors_and_workers_of_ray_train_are_ranks(tmp_path: Path):
    ended = in_a_namespace(str(CONFIGS / "launchers" / "ray_ranks.py"), "4", cwd=tmp_path)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert "sums: [6.0, 6.0, 6.0, 6.0]" in ended.stdout
    assert said.count("train.py on 1 node x 4 GPUs = 4 ranks") == 1
    assert said.count("Training finished successfully") == 1


@pytest.mark.timeout(LIMIT_S + 20)
def test_workers_of_a_torch_trainer_are_ranks(tmp_path: Path):
    """It sets RANK and MASTER_*, and torch's store is at MASTER_PORT."""
    pytest.importorskip("torch")
    (tmp_path / "job.py").write_text(TORCH_TRAINER)
    debug = ("--config", str(CONFIGS / "debug.yaml"), "--speed", "max")
    ended = in_a_namespace("job.py", str(ROOT / "train.py"), *debug, cwd=tmp_path)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    for rank in range(2):
        assert f"rank {rank} has [2.0, 2.0, 2.0]" in said
    assert "train.py on 1 node x 2 GPUs = 2 ranks" in said
    assert "Training finished successfully" in said
