"""The pytest plugin: fixtures that play a run, start a cluster, show GPUs and answer scrapes, for tests of others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.processes import pids_with_variable, until
from tests.support.repository import ROOT
from tests.support.warm_launcher import WarmLauncher

TIMEOUT_S = 60
ENDLESS = ("--set", "impose.step_time_s=[4, 4]", "--set", "train.epochs=10000")
"""A run of the debug config makes five steps a second with these at speed 20, until it is ended."""


class WarmPopen(WarmLauncher):
    """``subprocess.Popen`` of a cluster's launcher, as far as a cluster needs it, by a fork of a warm interpreter."""

    def __init__(self, words: list[str], *, env: Mapping[str, str], **_: object) -> None:
        assert words[:3] == [sys.executable, "-m", "fake_torch_dist.run"]
        readers, writers = zip(os.pipe(), os.pipe(), strict=True)
        with open(os.devnull, "rb") as nothing:
            super().__init__(
                words[3:], cwd=Path.cwd(), env=env, stdin=nothing.fileno(), stdout=writers[0], stderr=writers[1],
                training=True,
            )  # fmt: skip
        for writer in writers:
            os.close(writer)
        self.stdout, self.stderr = (open(reader, "rb") for reader in readers)  # noqa: SIM115 - the cluster closes them

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def test_a_run_is_played_with_all_that_it_leaves(fake_run) -> None:
    run = fake_run("debug", faults=["kill rank=1 at=step:12"], seed=5)
    assert run.exit_code == 0
    assert [event["seed"] for event in run.events("start")] == [5]
    assert run.events("summary")[0]["attempts"] == 2
    assert {event["id"] for event in run.truth} == {"kill-1"}
    assert run.lines(rank=0) and all("[Rank 0/4]" in line for line in run.lines(rank=0))
    assert "metrics.jsonl" in run.files


def test_mistakes_are_the_command_lines(fake_run) -> None:
    run = fake_run("debug", "--max-steps", "no")
    assert run.exit_code == 2
    assert "--max-steps" in run.stderr


def test_a_cluster_runs_and_ends_and_waiting_in_vain_shows_the_last_lines(fake_cluster) -> None:
    cluster = fake_cluster(nodes=2, gpus=2)
    cluster.wait_for(step=5)
    assert cluster.exit_code == 0
    assert len([record for record in cluster.records if record["event"] == "step"]) == 20
    assert cluster.truth == []
    with pytest.raises(RuntimeError, match=r"(?s)the job has ended; its last lines:.*finished successfully"):
        cluster.wait_for("no such line")


def test_a_cluster_is_scraped_and_shown_until_a_rank_that_is_killed_ends_the_job(fake_nvidia_smi, fake_cluster) -> None:
    cluster = fake_cluster(nodes=1, gpus=4, speed="20", arguments=ENDLESS, metrics=True, start=WarmPopen)
    cluster.wait_for(step=1)
    with urllib.request.urlopen(cluster.metrics_url, timeout=TIMEOUT_S) as answer:
        assert b"DCGM_FI_DEV_GPU_TEMP" in answer.read()
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert Path(fake_nvidia_smi).name == "nvidia-smi"
    assert done.stdout.count("GPU-") == 4
    cluster.kill(rank=2)
    assert cluster.exit_code == 1
    assert "exitcode  : -9" in cluster.stderr
    assert "rank      : 2 (local_rank: 2)" in cluster.stderr


def test_a_fault_is_injected_into_a_job_that_was_started_without_any(fake_cluster) -> None:
    cluster = fake_cluster(nodes=2, gpus=2, speed="20", arguments=ENDLESS, start=WarmPopen)
    cluster.wait_for(step=1)
    cluster.inject("exit rank=3 code=7 at=now")
    assert cluster.exit_code == 1
    assert re.search(r"rank +: 3 .*\n +exitcode +: 7", cluster.stderr)
    states = [event["state"] for event in cluster.truth if event["id"] == "exit-1"]
    assert states[:2] == ["planned", "begin"]


def test_an_exporter_answers_for_the_moment_that_the_test_names(fake_dcgm) -> None:
    dcgm = fake_dcgm("debug")

    def energy() -> float:
        with urllib.request.urlopen(dcgm.url, timeout=TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith("DCGM_FI_DEV_TOTAL_ENERGY")).split()[-1])

    dcgm.clock.jump_to(-1.0)
    before = energy()
    dcgm.clock.advance(seconds=9)
    assert energy() > before


PROBE = """
import sys

def test_nothing_is_imported():
    assert "fake_torch_dist.pytest_plugin" in sys.modules
    assert not [name for name in sys.modules if name.startswith(("accelerate_sim", "numpy"))]
"""
LEAVES = """
import pytest

def test_with_an_end_of_its_own(fake_cluster):
    fake_cluster(nodes=1, gpus=2, speed="4").wait_for(step=1)
    {}
"""


def run_pytest(directory: Path, text: str, mark: str) -> subprocess.CompletedProcess[str]:
    """Run these tests as a user of the plugin does, outside of the repository and without other plugins."""
    (directory / "test_of_a_user.py").write_text(text)
    plugins = ("-p", "fake_torch_dist.pytest_plugin", "-p", "no:cacheprovider")
    variables = {
        "PYTHONPATH": str(ROOT),
        "OF_THE_PLUGIN": mark,
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, str(directory)],
        cwd=directory, env=variables, capture_output=True, text=True, timeout=3 * TIMEOUT_S, check=False,
    )  # fmt: skip


def test_nothing_is_imported_until_a_fixture_is_used(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, PROBE, "probe")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        pytest.param("pytest.fail('on purpose')", 1, "on purpose", marks=pytest.mark.slow, id="fails"),
        pytest.param("raise KeyboardInterrupt", signal.SIGINT, "KeyboardInterrupt", id="is interrupted"),
    ],
)
def test_nothing_is_left_of_a_cluster_whose_test(end: str, code: int, said: str, tmp_path: Path) -> None:
    mark = tmp_path.name
    done = run_pytest(tmp_path, LEAVES.format(end), mark)
    assert done.returncode == code, done.stdout
    assert said in done.stdout
    until(lambda: not pids_with_variable("OF_THE_PLUGIN", mark), "the processes of the clusters end")


EXAMPLES = re.findall(r"```python pytest\n(.*?)```", (ROOT / "accelerate_sim/testing/README.md").read_text(), re.S)


NAMES = [re.findall(r"def (test_\w+)", text)[-1] for text in EXAMPLES]
AT_ONCE = {"test_the_objective_is_collected", "test_no_gpu_of_a_healthy_run_is_too_hot"}
"""Examples that the plain run runs, in one pytest; it tests the fixtures of the others above."""


def test_examples_of_the_page_work(tmp_path: Path) -> None:
    for name, example in zip(NAMES, EXAMPLES, strict=True):
        if name in AT_ONCE:
            (tmp_path / f"{name}.py").write_text(example)
    done = run_pytest(tmp_path, "", "examples")
    assert done.returncode == 0, done.stdout
    assert f"{len(AT_ONCE)} passed" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_an_example_of_the_page_works_alone(example: str, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, example, "example")
    assert done.returncode == 0, done.stdout


def test_the_page_has_ten_examples() -> None:
    assert len(EXAMPLES) == 10
