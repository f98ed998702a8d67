"""TensorBoard and wandb themselves read what was written, also after kills."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.records import StepRecord
from accelerate_sim.tracking.tensorboard import EVAL_SCALARS, STEP_SCALARS, TensorBoardTracker
from accelerate_sim.tracking.tracker import RunStart
from accelerate_sim.tracking.wandb import STEP_FIGURES, WandbTracker
from accelerate_sim.tracking.wandb_records import whole_records
from accelerate_sim.voices.voice import voice_called
from tests.support.repository import ROOT

LIMIT_S = 120
pytestmark = pytest.mark.real
SHORT = (
    *("--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-01", "--output-dir", "out"),
    *("--set", "train.steps_per_epoch=25", "--set", "eval.every=10", "--set", "log.every=1"),
    *("--set", "checkpoint.every=7", "--set", "checkpoint.shards=tiny"),
)
STEPS = 50
Event = dict[str, Any]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *SHORT, *arguments]


def play(cwd: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    quiet = {"PYTHONWARNINGS": "ignore"}  # what libraries say of each other is not judged
    environment = os.environ | quiet | ({"PYTHONPATH": path} if path else {})
    return subprocess.run(
        command("--speed", "max", *arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=LIMIT_S
    )


def play_with_kills(cwd: Path, *arguments: str) -> None:
    """Killed three times on the way, and told to end once."""
    lively = ("--set", "run.speed=20", "--set", "run.startup_speed=max")
    for step, number in ((9, signal.SIGKILL), (16, signal.SIGKILL), (24, signal.SIGTERM), (31, signal.SIGKILL)):
        resume = () if step == 9 else ("--resume", "auto")
        with subprocess.Popen(
            command(*lively, *arguments, *resume), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout
            said = []
            for line in process.stdout:
                said.append(line)
                if f" step {step} |" in line:
                    process.send_signal(number)
                    break
            assert f" step {step} |" in said[-1], "".join(said)
    done = play(cwd, *arguments, "--resume", "auto")
    assert done.returncode == 0, done.stderr


def played_whole(cwd: Path, *arguments: str) -> None:
    done = play(cwd, *arguments)
    assert (done.returncode, done.stderr) == (0, "")


WAYS = pytest.mark.parametrize("way", [played_whole, play_with_kills])
Way = Callable[..., None]


def of(directory: Path, kind: str) -> list[Event]:
    events = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == kind]


def single(value: float) -> float:
    """As a 32-bit float has it."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def check_scalars(found: Any, names: dict[str, str], events: list[Event]) -> None:
    assert events
    for name, tag in names.items():
        scalars = found.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [event["step"] for event in events]
        assert [scalar.value for scalar in scalars] == [single(event[name]) for event in events]


@pytest.mark.parametrize("voice", ["megatron", "hf@5", "torchtitan"])
def test_tensorboard_reads_the_tags_of_a_framework(tmp_path: Path, voice: str) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    done = play(tmp_path, "--log-with", "tensorboard", "--voice", voice)
    assert done.returncode == 0, done.stderr
    found = accumulators.EventAccumulator(str(tmp_path / "out/runs/run-1"), purge_orphaned_data=False)
    found.Reload()
    scalars = voice_called(voice).scalars
    assert scalars
    check_scalars(found, dict(scalars.step), of(tmp_path / "out", "step"))
    check_scalars(found, dict(scalars.evaluation), of(tmp_path / "out", "eval"))
    assert {*found.Tags()["scalars"]} >= {*scalars.step.values()}
    assert "perf/mfu" not in found.Tags()["scalars"]


@WAYS
def test_tensorboard_reads_everything_back(tmp_path: Path, way: Way) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    way(tmp_path, "--log-with", "tensorboard")
    assert len(list((tmp_path / "out/runs/run-1").iterdir())) == 1
    found = accumulators.EventAccumulator(str(tmp_path / "out/runs/run-1"), purge_orphaned_data=False)
    found.Reload()
    steps = of(tmp_path / "out", "step")
    assert len(steps) == STEPS
    check_scalars(found, STEP_SCALARS, steps)
    check_scalars(found, EVAL_SCALARS, of(tmp_path / "out", "eval"))
    times_s = [datetime.fromisoformat(event["time"]).timestamp() for event in steps]
    assert [scalar.wall_time for scalar in found.Scalars("train/loss")] == pytest.approx(times_s, abs=1e-3)
    hyperparameters = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2").HParamsPluginData()
    hyperparameters.ParseFromString(found.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    known = hyperparameters.session_start_info.hparams
    assert known["model"].string_value == "gpt2"
    assert known["train.steps_per_epoch"].number_value == 25
    [text] = found.Tensors("simulated/text_summary")
    assert b"Simulated" in text.tensor_proto.string_val[0]


def test_tensorboardx_does_as_well(tmp_path: Path) -> None:
    """Both write the same, so what one writes the other's reader reads."""
    pytest.importorskip("tensorboardX")
    hidden = tmp_path / "hidden/tensorboard"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')\n")
    for name, path in (("with", ""), ("without", str(hidden.parent))):
        (tmp_path / name).mkdir()
        done = play(tmp_path / name, "--log-with", "tensorboard", path=path)
        assert (done.returncode, done.stderr) == (0, "")
    [one], [other] = ((tmp_path / name / "out/runs/run-1").iterdir() for name in ("with", "without"))
    assert one.read_bytes()[-5000:] == other.read_bytes()[-5000:]
    assert one.stat().st_size == other.stat().st_size


@WAYS
def test_wandb_s_file_has_every_step_once(tmp_path: Path, way: Way) -> None:
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    way(tmp_path, "--log-with", "wandb")
    [path] = (tmp_path / "out/wandb").glob("offline-run-20260101_000000-*/run-*.wandb")
    records = [messages.Record.FromString(data) for _, data in whole_records(path.read_bytes())]
    assert [record.num for record in records] == list(range(1, len(records) + 1))
    kinds = [record.WhichOneof("record_type") for record in records]
    assert (kinds[:2], kinds[-1], kinds.count("exit")) == (["header", "run"], "exit", 1)
    run = records[1].run
    assert path.name == f"run-{run.run_id}.wandb"
    assert {item.key: json.loads(item.value_json) for item in run.config.update}["simulated"] is True
    rows = [
        {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    assert [row["_step"] for row in rows] == list(range(1, STEPS + 1))
    evals = {event["step"]: event["loss"] for event in of(tmp_path / "out", "eval")}
    assert {row["_step"]: row["eval_loss"] for row in rows if "eval_loss" in row} == evals
    for row, event in zip(rows, of(tmp_path / "out", "step"), strict=True):
        assert {name: row[name] for name in STEP_FIGURES} == {name: event[name] for name in STEP_FIGURES}
        assert row["_timestamp"] == pytest.approx(datetime.fromisoformat(event["time"]).timestamp(), abs=1e-3)
    files = path.parent / "files"
    assert sorted(file.name for file in files.iterdir()) == [
        "config.yaml", "requirements.txt", "wandb-metadata.json", "wandb-summary.json"
    ]  # fmt: skip
    summary = json.loads((files / "wandb-summary.json").read_text())
    assert {name: summary[name] for name in STEP_FIGURES} == {name: rows[-1][name] for name in STEP_FIGURES}
    metadata = json.loads((files / "wandb-metadata.json").read_text())
    assert (metadata["gpu"], metadata["gpu_count"], metadata["simulated"]) == ("NVIDIA H100 80GB HBM3", 2, True)
    assert datetime.fromisoformat(metadata["startedAt"]).timestamp() == datetime(2026, 1, 1).timestamp()
    latest = {item.nested_key[0]: json.loads(item.value_json) for item in records[-2].summary.update}
    assert latest == rows[-1] | {name: latest[name] for name in ("eval_loss", "eval_perplexity")}


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_a_checkpoint_knows_of_outlives_the_process(tmp_path: Path, name: str) -> None:
    """Steps that are kept to be written together are written when a checkpoint is."""
    pytest.importorskip(name)
    trackers = {"tensorboard": TensorBoardTracker, "wandb": WandbTracker}
    tracker = trackers[name](tmp_path)
    tracker.begin(RunStart(1, "model", 42, 0, datetime(2026, 1, 1), {}))
    for step in range(1, 101):
        tracker.observe(
            StepRecord(
                1, 1, step, datetime(2026, 1, 1), 1.0 * step, 1.0, 2.5, 12.2, 1.0, 1e-4, 8, 1000, 1e3, 0.4, 2**30
            )
        )
    [path] = (each for each in tmp_path.rglob("*simul*" if name == "tensorboard" else "*.wandb") if each.is_file())
    before = path.stat().st_size
    tracker.sync()
    written = path.read_bytes()
    assert before < len(written)
    tags = {"tensorboard": b"train/loss", "wandb": b"grad_norm"}
    assert written.count(tags[name]) - (name == "wandb") == 100  # once more in the summary
    tracker.close()


@contextmanager
def wandb_server(notes: Path) -> Iterator[str]:
    """The address of a server that notes the history it is sent."""
    command = [sys.executable, str(Path(__file__).with_name("wandb_server.py")), str(notes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@WAYS
def test_wandb_uploads_the_run(tmp_path: Path, way: Way) -> None:
    """wandb's own program reads the file and sends every step of it."""
    pytest.importorskip("wandb")
    program = Path(sys.executable).with_name("wandb")
    if not program.exists():
        pytest.skip("wandb's program is not installed")
    way(tmp_path, "--log-with", "wandb")
    [folder] = (tmp_path / "out/wandb").glob("offline-run-*")
    with wandb_server(tmp_path / "notes") as address:
        # No key is looked at here, but it has to look like one.
        environment = os.environ | {"HOME": str(tmp_path), "WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40}
        done = subprocess.run(
            [program, "sync", "--yes", folder],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Finished syncing" in done.stdout + done.stderr
    name, *rows = map(json.loads, (tmp_path / "notes").read_text().splitlines())
    assert name == {"name": "gpt2-seed42", "tags": ["simulated"]}
    assert [(row["_step"], row["loss"]) for row in rows] == [
        (event["step"], event["loss"]) for event in of(tmp_path / "out", "step")
    ]
