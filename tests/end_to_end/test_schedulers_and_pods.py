"""``train.py`` as Slurm, mpirun, Kubernetes and other launchers start it, by their variables: it is one job."""

from __future__ import annotations

import os
import runpy
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.emulator import Terminal, warm_train
from tests.support.free_ports import free_port
from tests.support.processes import Children
from tests.support.repository import ROOT
from tests.support.train_ranks import Job
from tests.support.warm_train import run_warm

RUN = ("--config", "configs/debug.yaml", "--speed", "max", "--max-steps", "2", "--start-time", "2026-01-01")


def of_slurm(rank: int, port: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NTASKS": "4",
        "SLURM_LOCALID": str(rank % 2), "SLURM_STEP_NODELIST": "localhost,other", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "MASTER_PORT": str(port),
    }  # fmt: skip


def of_mpirun(rank: int, port: int) -> dict[str, str]:
    names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
    return dict(zip((f"OMPI_COMM_WORLD_{name}" for name in names), (str(rank), "4", str(rank), "4"), strict=True)) | {
        "MASTER_PORT": str(port)
    }


def of_a_pod(rank: int, port: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def without_a_size(rank: int, port: int) -> dict[str, str]:
    return of_a_pod(rank, port) | {"LOCAL_RANK": str(rank % 2)}


def of_an_indexed_job(rank: int, port: int) -> dict[str, str]:
    return {name: value for name, value in of_a_pod(rank, port).items() if name != "RANK"} | {
        "JOB_COMPLETION_INDEX": str(rank)
    }


@pytest.mark.parametrize(
    "variables, layout, said",
    [
        (
            of_slurm,
            (2, 2),
            "rank 0 of 4, Slurm (SLURM_PROCID and SLURM_NTASKS): 2 nodes x 2 ranks, meeting at localhost:",
        ),
        (of_mpirun, (1, 4), "rank 0 of 4, Open MPI (OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE): 1 node x 4 ranks"),
        (of_a_pod, (1, 4), "rank 0 of 4, a launcher (RANK and WORLD_SIZE): 1 node x 4 ranks, meeting at 127.0.0.1:"),
        (without_a_size, (2, 2), ""),
        (of_an_indexed_job, (1, 4), "rank 0 of 4, an indexed job (JOB_COMPLETION_INDEX and WORLD_SIZE)"),
    ],
)
def test_processes_with_its_variables_are_one_job(
    variables: Callable[[int, int], dict[str, str]], layout: tuple[int, int], said: str
):
    port = free_port()
    with Job(RUN, 4, placed=lambda rank: variables(rank, port)) as job:
        assert job.wait() == [0] * 4
    nodes, per_node = layout
    first, last = job.ranks[0].stdout, job.ranks[3].stdout
    assert f"on {nodes} node{'s' * (nodes > 1)} x {per_node} GPUs = 4 ranks" in first
    assert f"Process index: 3 | local process index: {3 % per_node} | device: cuda:{3 % per_node}" in last
    assert sum(rank.stdout.count("finished successfully") for rank in job.ranks) == 1
    assert (job.ranks[0].stderr == "") == (said == "")
    assert job.ranks[0].stderr.startswith(f"train.py: note: {said}" if said else "")
    assert not any(rank.stderr for rank in job.ranks[1:])


def test_ranks_that_make_no_nodes_are_refused_once():
    port = free_port()
    cyclic = {0: "0", 1: "0", 2: "1", 3: "1"}
    with Job(RUN, 4, placed=lambda rank: of_a_pod(rank, port) | {"LOCAL_RANK": cyclic[rank]}) as job:
        assert job.wait() == [2] * 4
    said = "environment: LOCAL_RANK is 0, 0, 1, 1 on ranks 0, 1 and so on: these make no nodes of one size. Place as"
    assert job.ranks[0].stderr.startswith(said)
    assert not any(rank.stderr for rank in job.ranks[1:])


def test_a_layout_of_slurm_that_makes_no_nodes_is_refused_once():
    """Each task finds the mistake by itself, before the ranks meet."""
    port = free_port()
    with Job(RUN, 4, placed=lambda rank: of_slurm(rank, port) | {"SLURM_STEP_TASKS_PER_NODE": "3,1"}) as job:
        assert job.wait() == [2] * 4
    assert job.ranks[0].stderr.startswith("environment: SLURM_STEP_TASKS_PER_NODE = 3,1 nodes would differ in size")
    assert not any(rank.stderr for rank in job.ranks[1:])


def test_a_process_that_may_be_one_of_several_says_that_it_plays_all():
    ended = run_warm([*RUN], dict(os.environ) | {"WORLD_SIZE": "4"}, ROOT)
    assert ended.returncode == 0
    assert ended.stderr == "train.py: note: WORLD_SIZE is 4 and RANK is not set: this process plays all ranks\n"


@pytest.mark.parametrize("words", [["--local_rank=1"], ["--local-rank", "1"]], ids=" ".join)
def test_the_local_rank_that_a_launcher_appends_is_taken(words: list[str]):
    port = free_port()

    def placed(rank: int) -> dict[str, str]:
        return {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    with Job([*RUN, *words], 2, placed=lambda rank: placed(rank) | {"LOCAL_RANK": str(rank)}) as job:
        assert job.wait() == [0, 0]
    ended = run_warm(["--local_rank=x"], os.environ, ROOT)
    assert (ended.returncode, "--local_rank" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    "variables",
    [
        {"CI": "true"},
        {"TERM": "dumb"},
        {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"},
    ],
    ids=["CI", "dumb", "srun --pty", "mpirun", "torchrun"],
)
def test_a_pty_that_a_machine_has_made_shows_one_run_without_bars(variables: dict[str, str]):
    if "MASTER_ADDR" in variables:
        variables = variables | {"MASTER_PORT": str(free_port())}
    with Terminal(warm_train(*RUN), 80, 24, env=variables) as terminal:
        assert terminal.exit_code() == 0
    assert terminal.everything.count("finished successfully") == 1
    assert b"\x1b[" not in terminal.raw


def test_a_thread_that_is_not_the_main_one_plays_a_run(tmp_path: Path):
    def body(out: int) -> None:
        os.dup2(out, 1)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
        sys.argv = ["train.py", *RUN]
        os.chdir(ROOT)
        codes: list[object] = []

        def play() -> None:
            try:
                runpy.run_path("train.py", run_name="__main__")
            except SystemExit as end:
                codes.append(end.code)

        thread = threading.Thread(target=play)
        thread.start()
        thread.join()
        assert codes in ([0], [None]), codes

    with Children() as children:
        child = children.fork(body, pipes=1)
        assert children.wait() == [0]
    assert child.outputs[0].decode().count("finished successfully") == 1


def test_a_job_that_slurm_starts_again_goes_on(tmp_path: Path):
    directory = str(tmp_path / uuid.uuid4().hex)
    words = [*RUN, "--output-dir", directory]
    assert run_warm(words, os.environ, ROOT).returncode == 0
    again = run_warm(words, dict(os.environ), ROOT)
    assert again.returncode == 2
    requeued = run_warm(words, dict(os.environ) | {"SLURM_RESTART_COUNT": "1"}, ROOT)
    assert (requeued.returncode, "nothing is left to play" in requeued.stdout) == (0, True)
