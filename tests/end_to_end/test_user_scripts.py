"""Scripts of a user's own run in one process that plays all ranks, and with a process for each rank.

The scripts have the shape of Accelerate's public examples; their models, optimizers and data are plain numpy.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fast_debug import fast_debug
from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher
from tests.support.warm_train import run_main

SCRIPTS = Path(__file__).with_name("user_scripts")
DEADLINE_S = 60.0
WORLDS = {"one process": (), "launched": ("--nproc-per-node", "2")}
"""Flags of the launcher, which one process has not."""
IN_A_NEW_PYTHON = "classification.py"
"""Script that is started as a user starts it; in one process the others are forks of this one."""


def run(world: str, script: str, directory: Path, *arguments: str) -> str:
    """Standard output of a script that ended well; in one process it plays the 4 ranks of the debug config."""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if not WORLDS[world]:
        environ["ACCELERATE_SIM_CONFIG"] = str(fast_debug(directory))
    words = [*WORLDS[world], str(SCRIPTS / script), *arguments]
    if WORLDS[world]:
        done = run_launcher(words, cwd=directory, env=environ, timeout=DEADLINE_S)
    elif script != IN_A_NEW_PYTHON:
        done = run_main("tests.support.script_main", words, environ, directory)
    else:
        done = subprocess.run(
            [sys.executable, *words], cwd=directory, env=environ, capture_output=True, text=True, timeout=DEADLINE_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(params=list(WORLDS))
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def accuracies(text: str) -> list[float]:
    return [float(share) for share in re.findall(r"accuracy ([\d.]+)", text)]


def test_a_classifier_learns_and_each_row_is_counted_once(world: str, tmp_path: Path) -> None:
    text = run(world, "classification.py", tmp_path)
    assert re.findall(r"epoch (\d): accuracy [\d.]+ of (\d+)", text) == [("0", "90"), ("1", "90"), ("2", "90")]
    assert accuracies(text)[-1] > 0.95
    assert text.endswith("weights (4, 3) cuda:0\n")


def test_arguments_of_accelerate_are_taken(tmp_path: Path) -> None:
    assert run("launched", "classification.py", tmp_path, "--cpu", "--mixed_precision", "bf16").endswith(" cpu:0\n")


def test_a_dataset_class_and_batches_as_plain_dicts(world: str, tmp_path: Path) -> None:
    text = run(world, "images.py", tmp_path)
    assert text.count(" of 60\n") == 2
    assert accuracies(text)[-1] > 0.9


@pytest.mark.parametrize(("steps", "name"), [pytest.param("epoch", "epoch_0", marks=pytest.mark.slow), ("5", "step_5")])
def test_a_script_goes_on_from_its_checkpoint(world: str, steps: str, name: str, tmp_path: Path) -> None:
    """The weights are those of a run that was not interrupted, to the last digit that is printed."""
    whole = run(world, "complete.py", tmp_path, "--checkpointing_steps", steps)
    rest = run(world, "complete.py", tmp_path, "--resume_from_checkpoint", str(tmp_path / name))
    assert f"Resumed from checkpoint: {tmp_path / name}" in rest
    assert rest.splitlines()[-1] == whole.splitlines()[-1]
    assert accuracies(whole)[-1] > 0.9
    lines = [json.loads(line) for line in (tmp_path / "logs" / "complete.jsonl").read_text().splitlines()]
    assert lines[0]["config"] == {"lr": 0.5, "seed": 42}
    assert [line["step"] for line in lines[1:]] == ([1] if steps == "epoch" else [0, 1])


def test_accumulation_ends_with_the_loader_and_all_stop_together(tmp_path: Path) -> None:
    """8 batches of each of 2 ranks are 3 + 3 + 2 micro-batches; the schedule counts the ranks."""
    text = run("launched", "accumulation.py", tmp_path)
    assert text.startswith("batch size 8\nbatch size 7\n")
    epoch = int(re.findall(r"stopped in epoch (\d+)", text)[0])
    steps = 3 * (epoch + 1)
    assert f"8 batches, {steps} steps, {2 * steps} of the schedule" in text


def test_one_process_accumulates_for_all_ranks(tmp_path: Path) -> None:
    """4 batches of each of 4 ranks are 3 + 1 micro-batches."""
    text = run("one process", "accumulation.py", tmp_path)
    epoch = int(re.findall(r"stopped in epoch (\d+)", text)[0])
    steps = 2 * (epoch + 1)
    assert f"4 batches, {steps} steps, {4 * steps} of the schedule" in text


def test_local_sgd_and_shares_of_the_work(world: str, tmp_path: Path) -> None:
    lines = run(world, "apart.py", tmp_path).splitlines()
    assert lines == ["weights apart by 0.0e+00", "answer 0, answer 1, answer 2, answer 3, answer 4", "said once"]


def test_a_simulated_model_in_the_loop_of_the_examples(world: str, tmp_path: Path) -> None:
    """Steps, rates and the number of gathered losses follow from the script alone."""
    lines = run(world, "language_model.py", tmp_path).splitlines()
    steps = [line for line in lines if re.match(r"\d+: ", line)]
    assert [line.split()[1] for line in steps] == ["False", "True"] * 6
    rates = [float(line.split()[2]) for line in steps[1::2]]
    assert rates == [2e-5, 1.5e-5, 1e-5, 5e-6, 0.0, 0.0]
    assert f" of {8 * (2 if WORLDS[world] else 4)} |" in lines[-1]
