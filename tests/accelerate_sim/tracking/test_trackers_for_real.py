"""TensorBoard and wandb themselves read what was written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.real
SHORT = (
    "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max", "--start-time", "2026-01-01", "--output-dir", "out",
)  # fmt: skip


def play(cwd: Path, *arguments: str) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *SHORT, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def steps(directory: Path) -> list[dict[str, float]]:
    events = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == "step"]


def test_tensorboard_reads_everything_back(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    play(tmp_path, "--log-with", "tensorboard")
    found = accumulators.EventAccumulator(str(tmp_path / "out/runs/run-1"))
    found.Reload()
    for tag, name in (("train/loss", "loss"), ("perf/mfu", "mfu"), ("train/learning_rate", "lr")):
        scalars = found.Scalars(tag)
        assert [scalar.step for scalar in scalars] == list(range(1, 21))
        assert [scalar.value for scalar in scalars] == pytest.approx([one[name] for one in steps(tmp_path / "out")])
    assert len(found.Scalars("eval/loss")) == 2
    assert "_hparams_/session_start_info" in found.PluginTagToContent("hparams")
    assert b"Simulated" in found.Tensors("simulated/text_summary")[0].tensor_proto.string_val[0]


def test_wandb_writes_an_offline_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    play(tmp_path, "--log-with", "wandb")
    runs = list((tmp_path / "out/wandb").glob("offline-run-*/run-*.wandb"))
    assert len(runs) == 1
    assert b"simulated" in runs[0].read_bytes()
