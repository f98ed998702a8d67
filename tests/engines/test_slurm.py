"""Jobs of a real Slurm of 8 virtual nodes: both batch scripts as they stand, and ``srun`` without one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.repository import CONFIGS, ROOT
from tests.support.slurm import BatchJob, SlurmCluster, is_installed

pytestmark = [pytest.mark.real, pytest.mark.skipif(not is_installed(), reason="needs slurmctld, slurmd and srun")]

SHORT = ("--speed", "max", "--max-steps", "2")
LONG = ("--speed", "100", "--set", "train.steps_per_epoch=1000000", "--set", "checkpoint.every=500000")
DEBUG = ("--config", "configs/debug.yaml")
SCRIPTS = {"launcher": "slurm.sbatch", "direct": "slurm-direct.sbatch"}
PER_NODE = {"launcher": (), "direct": ("--ntasks-per-node=2",)}
FAILS_ON_THE_LAST_RANK = """
import os, sys, time
if os.environ["RANK"] == "3":
    sys.exit(7)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a user has it, with train.py and the configs."""
    for name in ("train.py", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def submit(slurm: SlurmCluster, script: str, folder: Path, options: tuple[str, ...], *flags: str) -> BatchJob:
    """One of the two scripts, on two nodes of two ranks."""
    path = str(CONFIGS / "launchers" / SCRIPTS[script])
    words = ("--nodes=2", *PER_NODE[script], f"--chdir={folder}", *flags, path, *options)
    return slurm.submit(*words, CONFIG="configs/debug.yaml", RANKS_PER_NODE="2")


def saved_step(output: str) -> int:
    """The step that the ``Terminated`` line says was saved last."""
    found = re.findall(r"\| saved \S*checkpoint-(\d+)", output)
    assert found, output
    return int(found[-1])


def assert_goes_on(job: BatchJob) -> None:
    """The job, which waits to run again, goes on from the step that it has saved."""
    job.wait_for_state("PENDING")
    step = saved_step(job.output)
    job.start_soon()
    job.wait_for("Going on from")
    assert f"checkpoint-{step}" in job.output.partition("Going on from")[2].partition("\n")[0]
    job.wait_for(f"step {step + 10 - step % 10} |")
    job.cancel()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_batch_script_runs_one_job(slurm: SlurmCluster, script: str, folder: Path):
    job = submit(slurm, script, folder, SHORT)
    assert job.wait_for_state("COMPLETED", "FAILED") == "0:0", job.output
    assert "train.py on 2 nodes x 2 GPUs = 4 ranks" in job.output
    assert job.output.count("Training finished successfully") == 1


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("command", [["scancel"], ["scancel", "--full"]], ids=" ".join)
def test_a_cancelled_job_has_saved_its_last_step(slurm: SlurmCluster, script: str, command: list[str], folder: Path):
    job = submit(slurm, script, folder, LONG)
    job.wait_for("step 10 |")
    slurm.run(*command, job.number)
    job.wait_for_state("CANCELLED")
    assert saved_step(job.output) >= 10
    assert job.output.count("Terminated:") == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_signal_before_the_time_limit_saves_and_starts_the_job_again(
    slurm: SlurmCluster, script: str, folder: Path
):
    """Slurm sends it to what ``#SBATCH --signal`` names; here it comes sooner than a minute before a limit."""
    job = submit(slurm, script, folder, LONG)
    job.wait_for("step 10 |")
    to = ["--batch"] if script == "launcher" else []
    slurm.run("scancel", "--signal=USR1", *to, job.number)
    job.wait_for("| saved ")
    assert_goes_on(job)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_job_that_is_requeued_goes_on(slurm: SlurmCluster, script: str, folder: Path):
    job = submit(slurm, script, folder, LONG)
    job.wait_for("step 10 |")
    slurm.run("scontrol", "requeue", job.number)
    job.wait_for("| saved ")
    assert_goes_on(job)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_job_that_is_preempted_goes_on(slurm: SlurmCluster, script: str, folder: Path):
    nodes = ("--nodelist=node6,node7", "--exclusive")
    job = submit(slurm, script, folder, LONG, *nodes)
    job.wait_for("step 10 |")
    slurm.run("srun", "--partition=high", *nodes, "--nodes=2", "true")
    assert_goes_on(job)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_time_limit_leaves_time_to_save(slurm: SlurmCluster, script: str, folder: Path):
    """Slurm counts time limits in minutes, so this takes one. The limit comes once the job trains, however late."""
    job = submit(slurm, script, folder, LONG, "--time=30", "--signal=CONT@0")
    job.wait_for("step 10 |")
    slurm.run("scontrol", "update", f"JobId={job.number}", "TimeLimit=1")
    job.wait_for_state("TIMEOUT")
    assert saved_step(job.output) >= 10


def test_the_jobs_of_an_array_do_not_meet(slurm: SlurmCluster, folder: Path):
    array = submit(slurm, "launcher", folder, SHORT, "--array=0-2")
    for index in range(3):
        job = BatchJob(slurm, f"{array.number}_{index}")
        assert job.wait_for_state("COMPLETED", "FAILED") == "0:0", job.output
        assert job.output.count("Training finished successfully") == 1


def test_srun_alone_starts_one_job_on_one_node(slurm: SlurmCluster, folder: Path):
    ended = slurm.run("srun", "--nodes=1", "--ntasks=4", f"--chdir={folder}", "python", "train.py", *DEBUG, *SHORT)
    assert "train.py on 1 node x 4 GPUs = 4 ranks" in ended.stdout
    assert ended.stdout.count("Training finished successfully") == 1
    assert "rank 0 of 4, Slurm (SLURM_PROCID and SLURM_NTASKS): 1 node x 4 ranks" in ended.stderr


def test_srun_alone_starts_one_job_on_several_nodes(slurm: SlurmCluster, folder: Path):
    """The names of virtual nodes do not resolve, so the address is told."""
    words = ("srun", "--nodes=2", "--ntasks-per-node=2", f"--chdir={folder}", "python", "train.py", *DEBUG, *SHORT)
    ended = slurm.run(*words, MASTER_ADDR="127.0.0.1")
    assert "train.py on 2 nodes x 2 GPUs = 4 ranks" in ended.stdout
    assert ended.stdout.count("Training finished successfully") == 1


def test_tasks_that_make_no_nodes_of_one_size_are_refused(slurm: SlurmCluster, folder: Path):
    words = ("srun", "--nodes=2", "--ntasks=3", f"--chdir={folder}", "python", "train.py", *DEBUG, *SHORT)
    ended = slurm.run(*words, check=False)
    assert ended.returncode == 2
    mistake = "nodes would differ in size. Start as many tasks on each node, e.g. with srun --ntasks-per-node."
    assert ended.stderr.count(mistake) == 1


def test_a_terminal_of_srun_shows_one_run_without_bars(slurm: SlurmCluster, folder: Path):
    ended = slurm.run("srun", "--pty", "--nodes=1", f"--chdir={folder}", "python", "train.py", *DEBUG, *SHORT)
    assert ended.stdout.count("Training finished successfully") == 1
    assert "\x1b[" not in ended.stdout


def test_a_rank_that_fails_ends_the_launchers_of_all_nodes(slurm: SlurmCluster, tmp_path: Path):
    (tmp_path / "job.py").write_text(FAILS_ON_THE_LAST_RANK)
    words = ("--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-id=9")
    endpoint = f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    ended = slurm.run(
        "srun", "--nodes=2", "--ntasks-per-node=1", f"--chdir={tmp_path}", "fake-torchrun", *words, endpoint, "job.py",
        check=False, FAKE_TORCH_DIST_TOKEN="secret",
    )  # fmt: skip
    assert ended.returncode == 1
    assert "rank      : 3 (local_rank: 1)" in ended.stderr
    assert ended.stderr.count("Exited with exit code 1") in (1, 2)  # Slurm makes one line of both if it can
