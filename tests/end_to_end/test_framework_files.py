"""Files that the framework of a voice writes: their figures are the run's, and a resumed run goes on in them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.support.reading import Train

DEBUG = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", "2026-01-31T09:30:00+00:00")
SMALL = ("--set", "checkpoint.shards=tiny", "--set", "checkpoint.every=5")


def played(train: Train, directory: Path, voice: str, *more: str) -> str:
    run = train(*DEBUG, *SMALL, "--voice", voice, "--output-dir", str(directory), *more)
    assert run.returncode == 0, run.stderr
    return run.stdout


def events(directory: Path, kind: str) -> list[dict[str, Any]]:
    found = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [event for event in found if event["event"] == kind]


@pytest.mark.parametrize("voice", ["hf@4", "llamafactory@5", "axolotl@4"])
def test_a_finished_trainer_leaves_its_results(train: Train, tmp_path: Path, voice: str) -> None:
    said = played(train, tmp_path / "out", voice)
    paths = {name: tmp_path / "out" / f"{name}_results.json" for name in ("all", "train", "eval")}
    results = {name: json.loads(path.read_text()) for name, path in paths.items()}
    losses = [event["loss"] for event in events(tmp_path / "out", "step")]
    assert results["train"]["train_loss"] == pytest.approx(fmean(losses))
    assert results["all"] == {**results["eval"], **results["train"]}
    assert results["eval"]["eval_loss"] == events(tmp_path / "out", "eval")[-1]["loss"]
    printed = re.search(r"'train_runtime': '?([\d.]+)", said)
    assert printed
    assert results["train"]["train_runtime"] == pytest.approx(float(printed[1]), rel=1e-3)
    assert all(each["simulated"] is True for each in results.values())
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["log_history"][-1]["train_runtime"] == results["train"]["train_runtime"]
    assert state["global_step"] == 20


def test_llama_factorys_log_has_each_mean_loss(train: Train, tmp_path: Path) -> None:
    played(train, tmp_path / "out", "llamafactory")
    entries = [json.loads(line) for line in (tmp_path / "out" / "trainer_log.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events(tmp_path / "out", "step")]
    logged = [entry for entry in entries if "loss" in entry]
    assert [entry["current_steps"] for entry in logged] == [5, 10, 15, 20]
    assert [entry["loss"] for entry in logged] == [round(fmean(losses[at : at + 5]), 4) for at in (0, 5, 10, 15)]
    assert list(logged[0])[:6] == ["current_steps", "total_steps", "loss", "lr", "epoch", "percentage"]
    assert logged[-1]["percentage"] == 100.0


def test_lightnings_csv_has_sorted_columns_and_rows_of_two_kinds(train: Train, tmp_path: Path) -> None:
    played(train, tmp_path / "out", "lightning")
    folder = tmp_path / "out" / "lightning_logs" / "version_0"
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert list(rows[0]) == ["epoch", "step", "train_loss", "val_loss"]
    assert [row["step"] for row in rows if row["train_loss"]] == ["4", "9", "14", "19"]
    assert [float(row["val_loss"]) for row in rows if row["val_loss"]] == [
        event["loss"] for event in events(tmp_path / "out", "eval")
    ]
    assert "simulated: true" in (folder / "hparams.yaml").read_text()


def test_megatrons_progress_names_each_checkpoint(train: Train, tmp_path: Path) -> None:
    played(train, tmp_path / "out", "megatron")
    lines = (tmp_path / "out" / "progress.txt").read_text().splitlines()
    assert [int(line.split("Iteration: ")[1].split("\t")[0]) for line in lines] == [5, 10, 15, 20]
    assert all(line.split("\t")[1:4] == ["Job ID: simulated", "# GPUs: 4", "Saved checkpoint"] for line in lines)
    assert (tmp_path / "out" / "latest_checkpointed_iteration.txt").read_text() == "20"


@pytest.mark.parametrize(
    ("voice", "names"),
    [
        ("llmc", ["main.log"]), ("megatron", ["progress.txt"]), ("lightning", ["lightning_logs/version_0/metrics.csv"]),
        ("llamafactory", ["trainer_log.jsonl", "eval_results.json"]),
    ],
)  # fmt: skip
def test_a_resumed_run_goes_on_in_the_files(train: Train, tmp_path: Path, voice: str, names: list[str]) -> None:
    """Going on from the checkpoint in the middle of a run that was played to its end writes the same files again."""
    out = tmp_path / "out"
    played(train, out, voice, "--set", "checkpoint.keep_last=9")
    before = {name: (out / name).read_text() for name in names}
    resumed = train("--resume", str(out / "checkpoint-10"), "--speed", "max")
    assert resumed.returncode == 0, resumed.stderr
    assert {name: (out / name).read_text() for name in names} == before
