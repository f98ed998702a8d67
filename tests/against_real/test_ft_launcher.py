"""The fault-tolerant launcher of nvidia-resiliency-ext restarts a job in which a fault kills a rank.

It needs ``pip install nvidia-resiliency-ext==0.4.1 nvidia-ml-py defusedxml`` beside torch (newer wheels: glibc 2.39),
and no GPU: it says that NVML is absent, and goes on. Our ranks need ``PYTHONPATH``, and nothing else of theirs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.real

LIMIT_S = 240.0


def test_it_restarts_a_job_whose_rank_is_killed(tmp_path: Path) -> None:
    launcher = shutil.which("ft_launcher", path=str(Path(sys.executable).parent)) or shutil.which("ft_launcher")
    if launcher is None:
        pytest.skip("needs ft_launcher of nvidia-resiliency-ext 0.4.1")
    flags = ["--nnodes", "1", "--nproc-per-node", "2", "--max-restarts", "2", "--rdzv-backend", "c10d",
             "--rdzv-endpoint", "localhost:0"]  # fmt: skip
    script = [str(ROOT / "train.py"), "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max", "--no-progress",
              "--set", "checkpoint.shards=tiny", "--set", "checkpoint.every=5",
              "--fault", "kill rank=1 at=step:13", "--output-dir", "out"]  # fmt: skip
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PET_", "TORCHELASTIC"))}
    ended = subprocess.run(
        [launcher, *flags, *script], cwd=tmp_path, env=inherited | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "exitcode: -9" in ended.stderr
    assert "2/2 attempts left" in ended.stderr
    assert "Attempt 2: the launcher has restarted the job" in ended.stdout
    steps = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    made = [(step["attempt"], step["step"]) for step in steps if step["event"] == "step"]
    assert made == [*((0, step) for step in range(1, 13)), *((1, step) for step in range(11, 21))]
    states = [json.loads(line)["state"] for line in (tmp_path / "out/faults.jsonl").read_text().splitlines()]
    assert states == ["planned", "begin", "symptom", "detected", "end", "recovered"]
