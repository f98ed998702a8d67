"""Jobs of a real ``mpirun``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.processes import Children, pids_with_variable, until
from tests.support.repository import CONFIGS, ROOT

MPIRUN = shutil.which("mpirun")
pytestmark = [pytest.mark.real, pytest.mark.skipif(MPIRUN is None, reason="needs mpirun")]

LIMIT_S = 180.0
OVER_ALL = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
TRAIN = [sys.executable, str(ROOT / "train.py"), "--config", str(CONFIGS / "debug.yaml")]
LONG = ["--speed", "100", "--set", "train.steps_per_epoch=1000000", "--set", "checkpoint.every=500000"]
SUM = """
import os
import numpy as np
import fake_torch_dist as dist
rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
dist.init_process_group("gloo", rank=rank, world_size=size)
x = np.ones(3)
dist.all_reduce(x)
os.write(1, f"sum {x.tolist()}\\n".encode())  # one write: those of print may alternate, as ranks share a pipe
dist.destroy_process_group()
"""


def environment(**variables: str) -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables


def mpirun(ranks: int, *command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    assert MPIRUN
    return subprocess.run(
        [MPIRUN, *OVER_ALL, "-np", str(ranks), *command], cwd=cwd, env=environment(**variables),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def test_train_py_is_one_run_without_bars(tmp_path: Path):
    """Rank 0 has a terminal that mpirun makes."""
    ended = mpirun(4, *TRAIN, "--speed", "max", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "train.py on 1 node x 4 GPUs = 4 ranks" in ended.stdout
    assert ended.stdout.count("Training finished successfully") == 1
    assert "\x1b[" not in ended.stdout
    assert "rank 0 of 4, Open MPI (OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE)" in ended.stdout + ended.stderr


def test_train_py_is_one_run_of_mpich(tmp_path: Path):
    hydra = shutil.which("mpiexec.hydra")
    if hydra is None:
        pytest.skip("needs mpiexec of MPICH")
    ended = subprocess.run(
        [hydra, "-np", "4", *TRAIN, "--speed", "max"], cwd=tmp_path, env=environment(MASTER_PORT=str(free_port())),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "train.py on 1 node x 4 GPUs = 4 ranks" in ended.stdout
    assert ended.stdout.count("Training finished successfully") == 1
    assert "rank 0 of 4, MPI (PMI_RANK and PMI_SIZE): 1 node x 4 ranks" in ended.stderr


def test_a_script_on_fake_torch_dist_runs(tmp_path: Path):
    (tmp_path / "sum.py").write_text(SUM)
    ended = mpirun(3, sys.executable, "sum.py", cwd=tmp_path, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("sum [3.0, 3.0, 3.0]") == 3


@pytest.mark.parametrize("settings", [[], ["--mca", "orte_abort_on_non_zero_status", "0"]], ids=["default", "patient"])
def test_a_signal_to_mpirun_saves(tmp_path: Path, settings: list[str]):
    """By default mpirun kills the rest when the first rank has ended, which is after rank 0 has saved."""
    assert MPIRUN
    words = [MPIRUN, *OVER_ALL, *settings, "-np", "4", *TRAIN, *LONG, "--output-dir", "run"]
    mark = str(tmp_path)

    def body(out: int) -> None:
        os.dup2(out, 1)
        os.chdir(tmp_path)
        os.execve(words[0], words, environment(MPIRUN_TEST=mark))

    with Children(LIMIT_S) as children:
        child = children.fork(body, pipes=1)
        children.read_until(lambda: b"step 10 |" in child.outputs[0], "step 10")
        child.send_signal(signal.SIGUSR1)
        children.wait()
    assert b"| saved run/checkpoint-" in child.outputs[0]
    until(lambda: not pids_with_variable("MPIRUN_TEST", mark), "all ranks are gone")
