"""A process that plays several ranks of train.py prints and writes what a process for each rank does."""

from __future__ import annotations

import filecmp
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.launched import Ended, Jobs, jobs_in
from tests.support.repository import ROOT
from tests.support.train_ranks import Job

START = "2026-01-01T00:00:00"
RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--start-time", START, "--speed", "max", "--no-progress",
    "--set", "checkpoint.shards=tiny", "--set", "log.every=2", "--set", "checkpoint.every=5",
)  # fmt: skip
WARNED = (
    "--set", "impose.step_time_s=[3000, 3600]", "--set", "train.steps_per_epoch=150", "--set", "train.epochs=1",
    "--seed", "1", "--set", "checkpoint.every=0",
)  # fmt: skip
"""Steps of an hour: long enough for rank 3 to warn of something."""
TRAIN = (
    "from accelerate_sim import Accelerator\n"
    f"import runpy; runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"
)


@dataclass
class Played:
    """Output and directory of a job."""

    ended: Ended
    directory: Path

    def logged(self, stream: str) -> list[bytes]:
        """The lines in the log files of a stream of all processes."""
        files = (self.directory.parent / "logs").rglob(f"{stream}.log")
        return [line for file in files for line in file.read_bytes().split(b"\n")[:-1]]

    @property
    def lines(self) -> dict[str, list[str]]:
        """The lines of standard output of each rank, in their order; those without a rank are rank 0's."""
        found: dict[str, list[str]] = {}
        for line in self.ended.lines:
            rank = line.partition("[Rank ")[2].partition("]")[0] if line.startswith("[20") else "0"
            found.setdefault(rank or "0", []).append(line)
        return found


@pytest.fixture
def play(tmp_path: Path) -> Iterator[object]:
    made: list[Iterator[Jobs]] = []

    def played(name: str, flags: tuple[str, ...], words: tuple[str, ...], **environment: str) -> Played:
        directory = tmp_path / name
        directory.mkdir()
        made.append(jobs_in(directory, training=True))
        ended = next(made[-1]).run(TRAIN, *flags, arguments=(*RUN, *words), **environment)
        return Played(ended, directory / "out")

    yield played
    for jobs in made:
        next(jobs, None)


def assert_same_files(one: Path, other: Path) -> None:
    left, right = (sorted(str(path.relative_to(top)) for path in top.rglob("*")) for top in (one, other))
    assert left == right
    files = [name for name in left if (one / name).is_file()]
    _, different, unreadable = filecmp.cmpfiles(one, other, files, shallow=False)
    assert (different, unreadable) == ([], [])


@pytest.mark.parametrize(
    ("nodes", "ranks", "number", "words"),
    [
        pytest.param(2, 4, "node", (), marks=pytest.mark.slow),
        pytest.param(1, 4, "2", (), marks=pytest.mark.slow),
        (2, 2, "node", WARNED),
        (2, 2, "node", ("--voice", "megatron")),
        pytest.param(1, 4, "2", ("--voice", "torchtitan"), marks=pytest.mark.slow),
    ],
    ids=["a node", "two", "warnings", "megatron", "torchtitan"],
)
def test_lines_and_files_are_those_of_a_process_for_each_rank(play, nodes, ranks, number, words):
    layout = ("--nnodes", str(nodes), "--nproc-per-node", str(ranks), "--no-prefix")
    words = (*words, "--output-dir", "out")
    plain = play("plain", layout, words)
    fewer = play("fewer", (*layout, "--ranks-per-process", number), words)
    assert (plain.ended.code, fewer.ended.code) == (0, 0), fewer.ended.err
    assert sorted(fewer.ended.lines) == sorted(plain.ended.lines)
    assert_same_files(plain.directory, fewer.directory)
    if "--voice" not in words:  # whose lines say whose they are
        assert fewer.lines == plain.lines and len(plain.lines) == nodes * ranks + 1
    if WARNED[1] in words:
        assert any(" WARNING " in line for line in plain.lines["3/4"])


def test_a_rank_that_is_killed_takes_its_process_and_the_next_attempt_goes_on(play):
    layout = ("--nnodes", "2", "--nproc-per-node", "4", "--no-prefix", "--max-restarts", "1")
    words = ("--fault", "kill rank=6 at=step:12", "--output-dir", "out")
    plain = play("plain", layout, words)
    fewer = play("fewer", (*layout, "--ranks-per-process", "node"), words)
    assert (plain.ended.code, fewer.ended.code) == (0, 0), fewer.ended.err
    assert fewer.lines == plain.lines
    assert any("Attempt 2" in line for line in plain.lines["0/8"])
    for jobs in (plain, fewer):  # the moments of the machine, and process ids
        (jobs.directory / "faults.jsonl").unlink()
    assert_same_files(plain.directory, fewer.directory)


@pytest.mark.parametrize(
    ("hazards", "words"),
    [
        (("torn-lines:0.3", "nan:0.3", "rank-echo:0.2", "mid-utf8:0.2", "rotate:0.001"), ()),
        (("traceback:0.2", "torn-lines:0.3"), ("--voice", "megatron", "--set", "log.ranks=all")),
    ],
    ids=["house", "megatron"],
)
def test_the_hazards_of_a_rank_are_those_of_its_own_process(play, hazards, words):
    """Output is in files of the processes: the launcher prints a half line, if a busy machine holds the other back."""
    layout = ("--nnodes", "2", "--nproc-per-node", "2", "--log-dir", "logs", "--redirects", "3")
    words = (*(f"--log-hazard={hazard}" for hazard in hazards), *words, "--output-dir", "out")
    plain = play("plain", layout, words)
    fewer = play("fewer", (*layout, "--ranks-per-process", "node"), words)
    assert (plain.ended.code, fewer.ended.code) == (0, 0), fewer.ended.err
    for stream in ("stdout", "stderr"):
        assert sorted(fewer.logged(stream)) == sorted(plain.logged(stream))
    assert len(plain.logged("stdout")) > 100
    assert_same_files(plain.directory, fewer.directory)
    assert len([*plain.directory.glob("log_truth*.jsonl")]) == 4


@pytest.mark.slow
def test_64_ranks_are_8_processes(play):
    layout, out = ("--nnodes", "8", "--nproc-per-node", "8", "--no-prefix"), ("--output-dir", "out")
    words = ("--set", "cluster.nodes=8", "--set", "cluster.gpus_per_node=8", "--set", "train.global_batch=512", *out)
    plain = play("plain", layout, words)
    fewer = play("fewer", (*layout, "--ranks-per-process", "node"), words)
    assert (plain.ended.code, fewer.ended.code) == (0, 0), fewer.ended.err
    assert fewer.lines == plain.lines and len(plain.lines) == 65
    assert_same_files(plain.directory, fewer.directory)


# --- Without fake-torchrun --------------------------------------------------------------------------


def processes(words: tuple[str, ...], cwd: Path = ROOT) -> Job:
    """Two processes that play two nodes of two ranks each, as any launcher can start them."""
    return Job(words, size=2, per_node=1, environ={"FAKE_TORCHRUN_RANKS_PER_PROCESS": "2"}, cwd=cwd)


def test_any_launcher_can_start_processes_that_play_nodes(train, tmp_path):
    alone = train(
        *RUN, "--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=2", "--output-dir", "out", cwd=tmp_path
    )
    metrics = (tmp_path / "out" / "metrics.jsonl").read_bytes()
    (tmp_path / "two").mkdir()
    with processes((*RUN, "--output-dir", "out"), tmp_path / "two") as job:
        assert job.wait() == [0, 0], job.ranks[0].stderr
        introduced = [f"[{START.replace('T', ' ')}] [Rank {rank}/4] INFO Process index: {rank} |" for rank in (1, 2, 3)]
        said = job.ranks[0].stdout + job.ranks[1].stdout
        assert [said.count(line) for line in introduced] == [1, 1, 1]
        assert " 2 nodes x 2 GPUs = 4 ranks" in said and alone.returncode == 0
    assert (tmp_path / "two" / "out" / "metrics.jsonl").read_bytes() == metrics


def test_a_scheduler_can_start_a_task_for_each_node(tmp_path):
    """Its tasks are told neither local ranks nor the size of a node: all meet first."""
    port = str(free_port())

    def task(rank: int) -> dict[str, str]:
        place = {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "0"}
        place |= {"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        return place | {"SLURM_JOB_ID": "7", "FAKE_TORCHRUN_RANKS_PER_PROCESS": "2"}

    with Job((*RUN, "--output-dir", "out"), size=2, placed=task, cwd=tmp_path) as job:
        assert job.wait() == [0, 0], job.ranks[0].stderr
        assert " 2 nodes x 2 GPUs = 4 ranks" in job.ranks[0].stdout
        assert "[Rank 3/4] INFO Process index: 3 | local process index: 1 |" in job.ranks[1].stdout


def test_a_signal_ends_all_processes_alike():
    with processes((*RUN, "--set", "run.speed=20", "--set", "train.epochs=10000")) as job:
        job.read_until(" step 2 |")
        job.kill(signal.SIGTERM)
        assert job.wait() == [143, 143]


# --- Mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["3", "0", "-1", "8", "gpu", "1.5"])
def test_a_number_that_does_not_divide_a_node_is_a_mistake(play, number):
    done = play("job", ("--nproc-per-node", "4", f"--ranks-per-process={number}"), ())
    assert done.ended.code == 2 and "Traceback" not in done.ended.err
    assert f"--ranks-per-process is '{number}'" in done.ended.err and "divides the 4 ranks of a node" in done.ended.err


@pytest.mark.parametrize(
    "script",
    [
        "import fake_torch_dist as dist\ndist.init_process_group('gloo')",
        "from accelerate_sim import Accelerator\nAccelerator()",
    ],
    ids=["fake_torch_dist", "Accelerator"],
)
def test_scripts_that_play_one_rank_a_process_say_so(tmp_path, script):
    jobs = jobs_in(tmp_path)
    ended = next(jobs).run(script, "--nnodes", "2", "--nproc-per-node", "2", "--ranks-per-process", "node")
    said = "\n--ranks-per-process (FAKE_TORCHRUN_RANKS_PER_PROCESS): a process can play several ranks"
    assert ended.code == 1 and f"\n{ended.err}".count(said) == 1 and "ValueError" not in ended.err
    assert "exitcode  : 2" in ended.err.partition("Root Cause")[2]
    next(jobs, None)
