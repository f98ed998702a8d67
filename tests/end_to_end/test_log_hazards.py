"""Runs whose log lines are spoiled on demand: in one process, under the launcher, and read by a pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.config.hazards import HAZARDS
from tests.conftest import environment
from tests.support.launched import Jobs, jobs_in
from tests.support.reading import Train
from tests.support.repository import ROOT
from tests.support.spoiled_log import SpoiledLog
from tests.support.train_ranks import Job
from tests.support.warm_train import WarmTrain

DEBUG = ("--config", str(ROOT / "configs/debug.yaml"), "--speed", "max", "--start-time", "2026-01-31T09:30:00+00:00")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path, training=True)


def truth(directory: Path, name: str = "log_truth*.jsonl") -> list[dict[str, Any]]:
    """The objects of the truth files, rank by rank."""
    return [json.loads(line) for path in sorted(directory.glob(name)) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def clean(train: Train, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Output of a run without hazards."""
    return train(*DEBUG, "--output-dir", "out", cwd=tmp_path_factory.mktemp("clean")).stdout


@pytest.mark.parametrize("name", HAZARDS)
def test_the_truth_has_each_line_of_the_run_without_hazards(clean: str, home: Path, tmp_path: Path, name: str) -> None:
    share = 0.0 if name == "rotate" else 0.3  # a share of 10 MiB
    words = (*DEBUG, "--output-dir", "out", "--log-hazard", f"{name}:{share}")
    with WarmTrain(words, environment(home), tmp_path) as spoiled:  # its output need not be text
        assert spoiled.wait() == 0
    entries = truth(tmp_path / "out")
    assert "".join(f"{entry['line']}\n" for entry in entries) == clean
    assert any(entry["done"] for entry in entries)
    assert {entry["rank"] for entry in entries} >= {0}
    assert entries[-1]["step"] == 20


@pytest.mark.parametrize("voice", ["house", "megatron", "hf@5", "kv", "mlperf"])
def test_the_truth_of_all_hazards_together_finds_each_line_in_the_bytes(home: Path, tmp_path: Path, voice: str) -> None:
    flags = [f"--log-hazard={name}:{0 if name == 'rotate' else 0.3}" for name in HAZARDS]
    arguments = [*DEBUG, "--no-progress", "--voice", voice, *flags, "--output-dir", str(tmp_path / "out")]
    with WarmTrain(arguments, environment(home), ROOT) as process:
        assert process.wait() == 0
        SpoiledLog({"stdout": process.raw, "stderr": process.raw_errors}).read(truth(tmp_path / "out"))


AS_JOBS = ("torn-lines",)
"""Hazards that the plain run plays as a job, alone; of the others it plays all at once."""


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=() if name in AS_JOBS else pytest.mark.slow) for name in HAZARDS), "all"],
)
def test_the_truth_of_each_process_finds_its_lines_in_its_bytes(tmp_path: Path, name: str) -> None:
    names = HAZARDS if name == "all" else [name]
    flags = [f"--log-hazard={each}:{0 if each == 'rotate' else 0.4}" for each in names]
    arguments = [*DEBUG, "--voice", "kv", "--set", "log.ranks=all", *flags, "--output-dir", str(tmp_path / "out")]
    with Job(arguments, 4, 2) as job:
        assert job.wait() == [0] * 4
    for rank, process in enumerate(job.ranks):
        SpoiledLog(process.raw).read(
            truth(tmp_path / "out", f"log_truth.rank{rank}.jsonl" if rank else "log_truth.jsonl")
        )


def test_hazards_need_no_directory_and_a_share_of_none_changes_nothing(train: Train) -> None:
    clean = train(*DEBUG)
    assert train(*DEBUG, "--log-hazard", "torn-lines:0", "--log-hazard", "nan:0").stdout == clean.stdout
    assert train(*DEBUG, "--log-hazard", "rank-echo:1").stdout != clean.stdout


@pytest.mark.parametrize("voice", ["hf@4", "megatron", "kv", "lightning"])
def test_the_lines_of_a_voice_pass_hazards_on_both_streams(train: Train, tmp_path: Path, voice: str) -> None:
    run = train(*DEBUG, "--voice", voice, "--log-hazard", "rank-echo:1", "--output-dir", str(tmp_path / "out"))
    assert run.returncode == 0
    for stream in ("stdout", "stderr"):
        lines = [entry["line"] for entry in truth(tmp_path / "out") if entry["stream"] == stream and entry["line"]]
        assert all(line in getattr(run, stream) for line in lines)
        assert getattr(run, stream).count("\n") >= 4 * len(lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log-hazard", "torn"], "did you mean 'torn-lines'?"),
        (["--log-hazard", "nan:7"], "whose share is no number from 0 to 1"),
        (["--set", "log.hazards=[nann]"], "which is no hazard"),
        (["--log-hazard", "rotate"], "Say where to with --output-dir."),
    ],
)
def test_mistakes_are_refused_with_a_way_out(train: Train, arguments: list[str], words: str) -> None:
    run = train(*DEBUG, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert words.lower() in run.stderr.lower()
    assert "Traceback" not in run.stderr


def test_the_list_names_each_hazard_and_its_share(train: Train) -> None:
    rows = train("--list", "hazards").stdout.splitlines()
    assert [row.split()[0] for row in rows[1:]] == list(HAZARDS)


def test_each_process_writes_the_truth_of_its_lines(train: Train, tmp_path: Path) -> None:
    flags = ("--voice", "kv", "--set", "log.ranks=all", "--log-hazard", "torn-lines:0.3")
    with Job([*DEBUG, *flags, "--output-dir", str(tmp_path / "out")], 4, 2) as job:
        assert job.wait() == [0] * 4
    for rank, process in enumerate(job.ranks):
        entries = truth(tmp_path / "out", f"log_truth.rank{rank}.jsonl" if rank else "log_truth.jsonl")
        assert {entry["rank"] for entry in entries} == {rank}
        untouched = [entry["line"] for entry in entries if not entry["done"] and entry["stream"] == "stdout"]
        assert untouched
        assert set(untouched) <= set(process.stdout.splitlines())


@pytest.mark.parametrize(
    "hazard", ["torn-lines:0.3", *(pytest.param(each, marks=pytest.mark.slow) for each in ("traceback:0.3", "nan:1"))]
)
def test_hazards_are_played_under_the_launcher(jobs: Jobs, tmp_path: Path, hazard: str) -> None:
    job = jobs.run(
        (ROOT / "train.py").read_text(), "--nnodes", "2", "--nproc-per-node", "2",
        arguments=(*DEBUG, "--log-hazard", hazard, "--output-dir", str(tmp_path / "out")),
    )  # fmt: skip
    assert job.code == 0
    entries = truth(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("log_truth*")} >= {"log_truth.jsonl", "log_truth.rank2.jsonl"}
    done = [entry for entry in entries if entry["done"]]
    assert done
    whole = [entry["line"] for entry in entries if not entry["done"] and "INFO step" in entry["line"]]
    assert all(line in job.out for line in whole)


def losses_of_a_pipeline(lines: list[str]) -> dict[int, float]:
    """Read steps and losses as a simple log pipeline does: one physical line, one expression."""
    found = {}
    for line in lines:
        match = re.search(r"INFO step (\d+) \| loss (\d+\.\d+) \|", line)
        if match:
            found[int(match[1])] = float(match[2])
    return found


@pytest.mark.parametrize(
    "hazard, spoils",
    [
        ("torn-lines:0.5", True),
        ("nan:0.5", True),
        ("ansi:0.5", True),
        ("rank-echo:0.5", True),
        ("traceback:0.5", False),
    ],
)
def test_a_pipelines_losses_can_be_counted_against_the_truth(
    train: Train, tmp_path: Path, hazard: str, spoils: bool
) -> None:
    flags = ("--set", "log.every=1", "--no-progress", "--ascii", "--set", "log.gpu_grid_every=0")
    run = train(*DEBUG, *flags, "--log-hazard", hazard, "--output-dir", str(tmp_path / "out"))
    entries = truth(tmp_path / "out")
    intended = losses_of_a_pipeline([entry["line"] for entry in entries])
    safe = losses_of_a_pipeline([entry["line"] for entry in entries if not entry["done"]])
    read = losses_of_a_pipeline(run.stdout.splitlines())
    assert len(intended) == 20
    assert safe.items() <= read.items(), "a line that the truth calls whole was not read"
    lost = {step for step, loss in intended.items() if read.get(step) != loss}
    struck = {step for entry in entries if entry["done"] for step in losses_of_a_pipeline([entry["line"]])}
    assert lost <= struck
    assert bool(lost) == spoils
