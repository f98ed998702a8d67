"""metrics.jsonl, as a program reads it: what is in it, in which units, and that a line is whole or absent."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim import catalog
from tests.conftest import environment
from tests.support.reading import Event, Play, Played, Train
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain

Kinds = dict[str, type | tuple[type, ...]]
NUMBER = (int, float)

KEYS: dict[str, Kinds] = {
    "start": {
        "simulated": bool, "run": int, "seed": int, "start_time": str, "config": dict, "model": str, "params": int,
        "layers": int, "hidden": int, "heads": int, "kv_heads": int, "ffn": int, "vocab": int, "context": int,
        "world_size": int, "nodes": int, "global_batch": int, "micro_batch": int, "sequence_length": int,
        "flops_per_token": int, "peak_flops_per_gpu": NUMBER, "memory_per_gpu_bytes": int, "checkpoint_bytes": int,
        "export_bytes": int,
    },
    "step": {
        "run": int, "epoch": int, "step": int, "time": str, "elapsed_s": float, "step_time_s": float, "loss": float,
        "perplexity": float, "grad_norm": float, "lr": float, "global_batch": int, "tokens": int,
        "tokens_per_s": float, "mfu": float,
    },
    "gpu": {
        "run": int, "step": int, "phase": str, "elapsed_s": float, "utilization_pct": list,
        "memory_used_bytes": list, "temperature_c": list, "power_w": list, "sm_clock_mhz": list,
    },
    "eval": {
        "run": int, "epoch": int, "step": int, "loss": float, "perplexity": float, "seconds": float, "best": bool,
    },
    "checkpoint": {"run": int, "step": int, "path": str, "bytes": int, "seconds": float},
    "nccl": {
        "run": int, "step": int, "collective": str, "algorithm": str, "protocol": str, "bytes": int, "ranks": int,
        "seconds": float,
        "algbw_bytes_per_s": float, "busbw_bytes_per_s": float,
    },
    "warning": {"run": int, "step": int, "rank": int, "kind": str, "message": str, "figures": dict},
    "export": {"run": int, "path": str, "files": list, "bytes": int, "seconds": float},
    "summary": {
        "run": int, "total_time_s": float, "epochs": int, "steps": int, "tokens": int, "final_loss": float,
        "final_perplexity": float, "best_loss": float, "best_perplexity": float, "mean_gpu_utilization_pct": float,
        "peak_memory_bytes": int, "energy_j": float, "export_path": str, "export_bytes": int,
    },
}  # fmt: skip
"""Fields that each event has at least."""

SPREAD = ("min", "p25", "p50", "p75", "max")
FIGURES = ("utilization_pct", "memory_used_bytes", "temperature_c", "power_w", "sm_clock_mhz")
HUGE = ("--config", "configs/llama405b.yaml", "--max-steps", "12", "--set", "log.gpu_grid_every=4")
SHORT = ("--config", "configs/debug.yaml", "--speed", "max")


@pytest.mark.parametrize("kind", KEYS)
def test_event_has_its_keys(llama: Played, kind: str) -> None:
    events = llama.of(kind)
    assert events
    for event in events:
        for key, type_ in KEYS[kind].items():
            assert isinstance(event[key], type_), f"{kind}.{key} is {event[key]!r}"
            assert isinstance(event[key], bool) == (type_ is bool)


def test_nothing_else_is_in_it(llama: Played) -> None:
    assert {event["event"] for event in llama.events} == KEYS.keys()


def test_file_says_that_it_is_simulated(llama: Played) -> None:
    with (llama.directory / "metrics.jsonl").open(encoding="utf-8") as file:
        assert json.loads(file.readline())["simulated"] is True


def test_every_line_is_one_object_of_plain_json(llama: Played) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    data = (llama.directory / "metrics.jsonl").read_bytes()
    assert data.endswith(b"\n")
    for line in data.splitlines():
        assert isinstance(json.loads(line, parse_constant=refuse), dict)
    assert data.isascii()


def test_events_come_in_the_order_in_which_things_happen(llama: Played) -> None:
    assert [event["step"] for event in llama.of("step")] == list(range(1, 403))
    assert [event["epoch"] for event in llama.of("step")] == [1 + k // 134 for k in range(402)]
    kinds = [event["event"] for event in llama.events]
    assert (kinds[0], kinds[-2], kinds[-1]) == ("start", "export", "summary")
    steps = [event["step"] for event in llama.events if "step" in event]
    assert steps == sorted(steps)
    times = [datetime.fromisoformat(event["time"]) for event in llama.of("step")]
    assert times == sorted(times)


def test_units_are_those_of_the_names(llama: Played) -> None:
    """Bytes, seconds, watts and degrees as they are; utilisation in per cent; MFU a share."""
    total = catalog.gpu(llama.start["gpu"]).memory_bytes
    assert llama.stepping_gpus
    for event in llama.stepping_gpus:
        assert {len(event[figure]) for figure in FIGURES} == {64}
        assert all(0.3 * total < size < total and isinstance(size, int) for size in event["memory_used_bytes"])
        assert all(50 < percent <= 100 for percent in event["utilization_pct"])
        assert all(200 < watts < 710 for watts in event["power_w"])
        assert all(30 < celsius < 90 for celsius in event["temperature_c"])
        assert all(1500 < megahertz <= 1980 for megahertz in event["sm_clock_mhz"])
    assert all(0.2 < event["mfu"] < 0.6 for event in llama.of("step")[4:])


def test_every_phase_of_the_run_is_visible(llama: Played) -> None:
    """At the end of the start-up, in every validation and checkpoint, and in the export; grids are of steps alone."""
    looks = llama.of("gpu")
    by_phase = {phase: [look for look in looks if look["phase"] == phase] for phase in ("startup", "export")}
    assert [(look["step"], look["elapsed_s"] < 0) for look in by_phase["startup"]] == [(0, True)]
    assert [look["step"] for look in by_phase["export"]] == [402]
    for phase, kind in (("validation", "eval"), ("checkpoint", "checkpoint")):
        pauses = [look for look in looks if look["phase"] == phase]
        assert [look["step"] for look in pauses] == [event["step"] for event in llama.of(kind)]
        ends = {event["step"]: event["elapsed_s"] for event in llama.of("step")}
        assert all(look["elapsed_s"] > ends[look["step"]] for look in pauses)
    assert [look["step"] for look in llama.stepping_gpus] == [grid.step for grid in llama.grids]
    watts = {look["phase"]: sum(look["power_w"]) / len(look["power_w"]) for look in looks}
    assert watts["startup"] < watts["step"]
    assert max(watts["checkpoint"], watts["export"]) < 0.5 * watts["step"]
    assert max(by_phase["startup"][0]["memory_used_bytes"]) < 0.5 * max(llama.stepping_gpus[0]["memory_used_bytes"])


def test_no_look_at_the_gpus_is_taken_where_none_is_asked_for(play: Play) -> None:
    assert play(*SHORT[:2], "--set", "log.gpu_grid_every=0").of("gpu") == []


def test_config_in_it_is_the_whole_run_again(llama: Played, play: Play, tmp_path: Path) -> None:
    """JSON is YAML: what the file says was played can be played."""
    again = tmp_path / "again.yaml"
    again.write_text(json.dumps(llama.start["config"]))
    replayed = play("--config", str(again))
    assert replayed.of("step") == llama.of("step")
    assert replayed.of("gpu") == llama.of("gpu")


# --- Many GPUs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def huge(play: Play) -> Played:
    return play(*HUGE)


@pytest.fixture(scope="module")
def huge_in_full(play: Play) -> Played:
    return play(*HUGE, "--set", "log.gpu_detail=full")


def test_above_512_gpus_there_is_the_distribution_and_the_worst(huge: Played) -> None:
    for event in huge.of("gpu"):
        assert event["gpus"] == 16384
        for figure in FIGURES:
            assert tuple(event[figure]) == SPREAD
            values = [event[figure][name] for name in SPREAD]
            assert values == sorted(values)
            assert values[0] < values[-1] or figure == "sm_clock_mhz" or event["phase"] != "step"
        assert 2 <= len(event["worst"]) <= 16
        for gpu in event["worst"]:
            assert {"rank", *FIGURES} == gpu.keys()
            assert 0 <= gpu["rank"] < 16384
            for figure in FIGURES:
                assert event[figure]["min"] <= gpu[figure] <= event[figure]["max"]


def test_full_detail_is_what_the_distribution_is_of(huge: Played, huge_in_full: Played) -> None:
    for short, full in zip(huge.of("gpu"), huge_in_full.of("gpu"), strict=True):
        for figure in FIGURES:
            values = sorted(full[figure])
            assert len(values) == 16384
            assert (short[figure]["min"], short[figure]["max"]) == (values[0], values[-1])
            middle = (values[8191] + values[8192]) / 2
            assert short[figure]["p50"] == pytest.approx(middle)
        for gpu in short["worst"]:
            assert [gpu[figure] for figure in FIGURES] == [full[figure][gpu["rank"]] for figure in FIGURES]


# --- Whole lines ----------------------------------------------------------------------------------


def endless(directory: Path, home: Path, *arguments: str) -> WarmTrain:
    """Runs without end that write to ``directory``."""
    words = ["--config", "configs/llama70b.yaml", "--runs", "0", *arguments, "--output-dir", str(directory)]
    return WarmTrain(words, environment(home), ROOT)


@pytest.mark.parametrize("chance", [0, 1, *(pytest.param(each, marks=pytest.mark.slow) for each in (2, 3))])
def test_after_a_kill_every_line_that_has_its_end_is_whole(home: Path, tmp_path: Path, chance: int) -> None:
    """SIGKILL when the file has grown past some random size: nobody can clean up then. The kernel may cut the last."""
    path, enough = tmp_path / "metrics.jsonl", random.Random(chance).randrange(20_000, 400_000)
    with endless(tmp_path, home, "--speed", "max") as process:
        process.wait_until(lambda: path.exists() and path.stat().st_size >= enough, "the file has grown")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    lines = path.read_bytes().split(b"\n")[:-1]
    events: list[Event] = [json.loads(line) for line in lines]
    steps = [event["step"] for event in events if event["event"] == "step" and event["run"] == 1]
    assert steps == list(range(1, len(steps) + 1))


def test_what_is_on_the_screen_is_in_the_file(home: Path, tmp_path: Path) -> None:
    """While the program waits nothing is left in a buffer."""
    with endless(tmp_path, home, "--set", "run.startup_speed=200", "--set", "run.speed=400") as process:
        process.read_until("step 10 |")
        events: list[Event] = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_bytes().splitlines()]
        assert events[0]["event"] == "start"
        assert 10 in [event["step"] for event in events if event["event"] == "step"]
        assert process.returncode is None


# --- Where it is written, and where not ------------------------------------------------------------


def files_below(*places: Path) -> set[Path]:
    return {path for place in places for path in place.rglob("*")}


def test_nothing_is_written_unless_asked_for(root: Path, tmp_path: Path) -> None:
    """Not in the current directory, at home, or where temporary files go."""
    places = [tmp_path / name for name in ("cwd", "home", "tmp")]
    for place in places:
        place.mkdir()
    places_of: dict[str, str] = {"HOME": str(places[1]), "TMPDIR": str(places[2]), "XDG_CACHE_HOME": str(places[1])}
    done = subprocess.run(
        [sys.executable, "-B", str(root / "train.py"), "--config", str(root / SHORT[1]), "--speed", "max"],
        cwd=places[0], env=os.environ | places_of, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"Training finished successfully" in done.stdout
    assert files_below(*places) == set()


def test_all_that_is_written_is_there_to_stay(llama: Played) -> None:
    """Metrics, the faults, the run, the three newest checkpoints and the model; no half of anything."""
    names = {path.relative_to(llama.directory).parts[0] for path in files_below(llama.directory)}
    assert names == {
        "metrics.jsonl", "run.json", "latest", "final", "checkpoint-240", "checkpoint-300", "checkpoint-360",
        "faults.jsonl",
    }  # fmt: skip


def refusal(train: Train, directory: Path) -> str:
    """Message when output goes there; nothing else may happen."""
    done = train(*SHORT, "--output-dir", str(directory))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert str(directory) in done.stderr
    return done.stderr


def test_a_run_is_never_overwritten(train: Train, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("precious\n")
    assert "another run" in refusal(train, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == "precious\n"


def test_a_file_is_no_directory(train: Train, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refusal(train, tmp_path / "file")
    refusal(train, tmp_path / "file" / "below")
    assert files_below(tmp_path) == {tmp_path / "file"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_directory_without_permission_is_refused(train: Train, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    refusal(train, closed)
    assert files_below(closed) == set()


def test_nothing_is_made_for_a_config_that_is_wrong(train: Train, tmp_path: Path) -> None:
    done = train(*SHORT, "--set", "train.lr=-1", "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 2
    assert files_below(tmp_path) == set()


def test_every_run_of_a_session_is_in_the_file(play: Play) -> None:
    """Two runs, one file: each event says which run it belongs to."""
    both: list[dict[str, Any]] = play("--config", "configs/debug.yaml", "--runs", "2").events
    runs = [event["run"] for event in both]
    assert runs == sorted(runs)
    counts = [sum(event["run"] == run and event["event"] == "step" for event in both) for run in (1, 2)]
    assert counts == [20, 20]
