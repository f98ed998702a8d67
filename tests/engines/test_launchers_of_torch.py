"""Launchers on top of torch's: torchx and deepspeed start train.py, and fake-torchrun stands in for torchrun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.repository import CONFIGS, ROOT

pytestmark = pytest.mark.real

LIMIT_S = 240.0
TRAIN = [str(ROOT / "train.py"), "--config", str(CONFIGS / "debug.yaml"), "--speed", "max"]
FAILS = "import os\nif os.environ['RANK'] == '1':\n    raise ValueError('a shard is missing')\n"


def program(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    if not found:
        pytest.skip(f"needs {name}")
    return found


def run(words: list[str], cwd: Path, first: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    path = [str(first)] if first else []
    path += [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    environment = {"PATH": ":".join(path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(cwd)}
    return subprocess.run(
        words, cwd=cwd, env=os.environ | environment | variables, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def assert_one_run_of(nodes: int, ranks: int, ended: subprocess.CompletedProcess[str]) -> None:
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert f"train.py on {nodes} node{'s' * (nodes > 1)} x {ranks // nodes} GPUs = {ranks} ranks" in said
    assert said.count("Training finished successfully") == 1


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """A directory with a torchrun that is fake-torchrun."""
    directory = tmp_path / "shim"
    assert run([sys.executable, "-m", "fake_torch_dist.run", "--shim", str(directory)], tmp_path).returncode == 0
    return directory


def torchx(*words: str) -> list[str]:
    return [program("torchx"), "run", "--scheduler", "local_cwd", "--wait", "--log", "dist.ddp", *words]


def test_torchx_starts_train_py_by_torchs_torchrun(tmp_path: Path):
    pytest.importorskip("torch")
    assert_one_run_of(1, 2, run(torchx("-j", "1x2", "--script", TRAIN[0], "--", *TRAIN[1:]), tmp_path))


def test_torchx_starts_two_nodes_by_the_shim(tmp_path: Path, shim: Path):
    words = torchx("-j", "2x2", "--script", TRAIN[0], "--", *TRAIN[1:])
    assert_one_run_of(2, 4, run(words, tmp_path, first=shim, FAKE_TORCH_DIST_TOKEN="secret"))


def test_torchx_reports_the_error_that_the_shim_replies(tmp_path: Path, shim: Path):
    (tmp_path / "job.py").write_text(FAILS)
    ended = run(torchx("-j", "1x2", "--script", "job.py"), tmp_path, first=shim)
    assert ended.returncode != 0
    assert "ValueError: a shard is missing" in ended.stdout + ended.stderr


@pytest.mark.parametrize("flags", [[], ["--no_local_rank"]], ids=["local rank appended", "--no_local_rank"])
def test_deepspeed_starts_train_py(flags: list[str], tmp_path: Path):
    pytest.importorskip("torch")
    words = [program("deepspeed"), "--num_gpus", "2", "--master_port", str(free_port()), *flags, *TRAIN]
    assert_one_run_of(1, 2, run(words, tmp_path, DS_ACCELERATOR="cpu"))
