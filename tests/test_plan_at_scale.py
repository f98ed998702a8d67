"""--plan answers at once and in little memory, however many GPUs are asked about."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_CPU_S = 1.0
MOST_BYTES = 300e6
CLUSTERS = {
    16_384: ["--config", "configs/llama405b.yaml"],
    100_000: ["--set", "model=llama-3.1-405b", "--set", "cluster.nodes=12500", "--set", "parallel.pipeline=10",
              "--set", "train.global_batch=12500"],
}  # fmt: skip


@pytest.mark.parametrize("gpus", CLUSTERS)
def test_a_plan_takes_a_second(gpus: int) -> None:
    command = [sys.executable, "train.py", *CLUSTERS[gpus], "--plan"]
    best = float("inf")
    for _ in range(3):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout and process.stderr
            text, errors = process.stdout.read(), process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert (process.returncode, errors) == (0, "")
        assert f"{gpus:,} GPUs" in text
        assert usage.ru_maxrss * 1024 < MOST_BYTES
        best = min(best, usage.ru_utime + usage.ru_stime)
        if best < MOST_CPU_S:
            return
    assert best < MOST_CPU_S
