"""Schedulers and operators give a launcher a token's file and devices, and get readiness and a reason at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher import logs
from fake_torch_dist.launcher.commandline.choices import config_of
from fake_torch_dist.launcher.commandline.parsed_arguments import parse
from fake_torch_dist.launcher.commandline.parser import UsageError
from fake_torch_dist.launcher.commandline.shim import make_shim
from fake_torch_dist.launcher.logs import LogDirectoryError, LogTree
from fake_torch_dist.launcher.reports.termination_message import write_termination_message
from fake_torch_dist.run import copies
from fake_torch_dist.stores.authentication import job_token
from tests.support.launched import Jobs
from tests.support.processes import until


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAKE_TORCH_DIST_TOKEN", "FAKE_TORCH_DIST_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_token")
def test_a_token_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN_FILE", str(secret))
    with pytest.raises(DistNetworkError, match=r"TOKEN_FILE = .*token, which can't be read: No such file"):
        job_token()
    secret.write_text("\n")
    with pytest.raises(DistNetworkError, match=r"which is empty\. It is to hold the secret"):
        job_token()
    secret.write_text("mounted\n")
    assert job_token() == b"mounted"
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "given")
    assert job_token() == b"given"


def test_ranks_have_the_token_of_the_file(jobs: Jobs) -> None:
    (jobs.directory / "token").write_text("mounted\n")
    ended = jobs.run("import os; print(os.environ['FAKE_TORCH_DIST_TOKEN'])", FAKE_TORCH_DIST_TOKEN_FILE="token")
    assert (ended.code, ended.lines) == (0, ["mounted"])


@pytest.mark.parametrize(
    "environment, count",
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, 3),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f3a,GPU-91bc"}, 2),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-8f3a"}, 1),
        ({"NVIDIA_VISIBLE_DEVICES": "all", "SLURM_GPUS_ON_NODE": "8"}, 8),
    ],
)
def test_devices_are_counted_where_the_environment_names_them(environment: dict[str, str], count: int) -> None:
    for word in ("gpu", "auto"):
        assert config_of(parse(["--nproc-per-node", word, "x.py"], environment), environment).nproc_per_node == count


def test_without_devices_the_way_out_is_said() -> None:
    with pytest.raises(UsageError, match=r"Cuda is not available.*CUDA_VISIBLE_DEVICES=0,1,2,3"):
        config_of(parse(["--nproc-per-node", "gpu", "x.py"], {}), {})


@pytest.mark.parametrize(
    "environment, said",
    [
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}, "SLURM_NTASKS is 4, and each of these fake-torchrun runs a job"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE is 2"),
        ({"SLURM_NTASKS": "4"}, ""),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "1"}, ""),
    ],
)
def test_several_launchers_that_make_several_jobs_say_so(environment: dict[str, str], said: str) -> None:
    alone = config_of(parse(["x.py"], {}), {})
    assert " ".join(copies(alone, environment)).startswith(said)
    assert bool(said) == bool(list(copies(alone, environment)))
    assert bool(said) == bool(list(copies(config_of(parse(["--nnodes", "4", "x.py"], {}), {}), environment)))
    one_of_four = ["--nnodes", "4", "--rdzv-backend", "c10d", "--rdzv-endpoint", "h0:29400", "x.py"]
    assert not list(copies(config_of(parse(one_of_four, {}), {}), environment))


def test_a_shim_is_a_torchrun(tmp_path: Path) -> None:
    directory = tmp_path / "bin of mine"
    made = subprocess.run(
        [sys.executable, "-m", "fake_torch_dist.run", "--shim", str(directory)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert made.stdout.startswith(f"{directory / 'torchrun'} is fake-torchrun. Put it first:\nexport PATH=")
    said = subprocess.run([directory / "torchrun", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("fake-torchrun ")
    make_shim(str(directory))  # again
    assert os.listdir(directory) == ["torchrun"]


def test_another_torchrun_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "torchrun").write_bytes(b"\xff#!/usr/bin/python")
    with pytest.raises(UsageError, match="torchrun is there and is no shim of fake-torchrun: give another directory"):
        make_shim(str(tmp_path))
    with pytest.raises(UsageError, match="can't be written: Not a directory"):
        make_shim(str(tmp_path / "torchrun" / "below"))


def test_teed_streams_need_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only() -> Path:
        raise OSError(30, "Read-only file system", "/tmp")

    monkeypatch.setattr(logs, "_temporary_directory", read_only)
    assert not LogTree.create(None, "run", files_wanted=True).run_directories
    with pytest.raises(LogDirectoryError, match="Read-only file system"):
        LogTree.create(None, "run", files_wanted=True, files_needed=True)


def content(file: Path) -> str:
    """Return the text of a file, or nothing while a launcher takes the one of an earlier launcher away."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def test_a_file_says_that_the_ranks_run(jobs: Jobs) -> None:
    ready = jobs.directory / "ready"
    ready.write_text("of an earlier launcher")
    script = (
        "import os, time\n"
        "while not os.path.exists('go'): time.sleep(0.005)\n"
        "print('ready' if os.path.exists('ready') else 'not')\n"
        "while not os.path.exists('end'): time.sleep(0.005)\n"
    )
    job = jobs.start(script, "--nproc-per-node", "2", FAKE_TORCHRUN_READY_FILE=str(ready))
    until(lambda: content(ready) == f"{job.pid}\n", "the file is there")
    (jobs.directory / "go").touch()
    job.wait_for("ready", 2)
    (jobs.directory / "end").touch()
    assert job.end().code == 0
    assert not ready.exists()


def test_the_reason_of_a_failure_is_left_in_the_pods_file(jobs: Jobs) -> None:
    log = jobs.directory / "termination-log"
    script = "import os, sys; sys.exit(3 * (os.environ['RANK'] == '1'))"
    assert jobs.run(script, "--nproc-per-node", "2", FAKE_TORCHRUN_TERMINATION_LOG=str(log)).code == 1
    assert re.match(r"rank 1 .* failed \(exitcode: 3\)\n", log.read_text())
    waiting = jobs.start("import time; print('up'); time.sleep(600)", FAKE_TORCHRUN_TERMINATION_LOG=str(log))
    waiting.wait_for("up")
    os.kill(waiting.pid, signal.SIGTERM)
    assert waiting.end().code == 1
    assert log.read_text() == f"Process {waiting.pid} got signal: 15"


def test_a_long_reason_is_cut_in_its_middle(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    write_termination_message("begin" + "x" * 9000 + "end", {"FAKE_TORCHRUN_TERMINATION_LOG": str(log)})
    text = log.read_text()
    assert text.startswith("begin") and text.endswith("end") and "\n...\n" in text and len(text) <= 4096
