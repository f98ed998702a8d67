"""Files that were damaged, or made by somebody who means harm: one sentence, no traceback, and nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelerate_sim.artifacts.damage import Damaged, checksum_of
from accelerate_sim.checkpoints.directory import state_of_checkpoint
from accelerate_sim.checkpoints.resume import find
from accelerate_sim.config.problems import ConfigError
from tests.support.repository import ROOT
from tests.support.warm_train import run_warm

RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-01", "--output-dir", "out",
    "--set", "checkpoint.shards=tiny", "--set", "checkpoint.every=3", "--set", "checkpoint.keep_last=2",
    "--set", "train.steps_per_epoch=5", "--speed", "max",
)  # fmt: skip
AGAIN = ("--resume", "auto")
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""Checks that are left out: examples may share a directory, and a busy machine is slow."""
NEWEST, BEFORE = "checkpoint-9", "checkpoint-6"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("finished")
    assert run_warm(RUN, os.environ, directory).returncode == 0
    return directory / "out"


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """The run as if it had died after its last checkpoint."""
    shutil.copytree(finished, tmp_path / "out", ignore=shutil.ignore_patterns("final"))
    change(tmp_path / "out/run.json", lambda document: document.update(end=None))
    return tmp_path / "out"


def go(out: Path, *arguments: str) -> tuple[int, str, str]:
    done = run_warm((*RUN, *arguments), os.environ, out.parent)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def change(path: Path, how: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    how(document)
    path.write_text(json.dumps(document))


def agree(checkpoint: Path) -> None:
    """Make the manifest agree with changed files, as somebody can who hands a checkpoint on."""
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text())
    for entry in manifest["files"]:
        if entry["name"].endswith("_state.json"):
            data = (checkpoint / entry["name"]).read_bytes()
            entry |= {"bytes": len(data), "head_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(manifest))


def craft(out: Path, name: str, key: str, value: object) -> None:
    """Change one field, ``a.b`` within ``a``, of a file of the newest checkpoint."""

    def put(document: dict[str, Any]) -> None:
        *above, last = key.split(".")
        for part in above:
            document = document[part]
        document[last] = value

    change(out / NEWEST / name, put)
    agree(out / NEWEST)


STATE, TRAINER = "run_state.json", "trainer_state.json"
CRAFTED = [
    (STATE, "saved", [["../precious-5", None], ["checkpoint-6", 3.0]]),
    (STATE, "saved", [["/tmp/precious-5", None]]),
    (STATE, "saved", [["checkpoint-06", None]]),
    (STATE, "saved", [["checkpoint-12", None]]),
    (STATE, "saved", [["checkpoint-6", "low"]]),
    (STATE, "saved", "checkpoint-6"),
    (STATE, "run", 2),
    (STATE, "run", -1),
    (STATE, "clock_s", 1e300),
    (STATE, "clock_s", 2.9e11),
    (STATE, "clock_s", -1.0),
    (STATE, "origin_s", float("nan")),
    (STATE, "start_time", "yesterday"),
    (STATE, "start_time", "2025-01-01T00:00:00"),
    (STATE, "metrics_bytes", 3),
    (STATE, "metrics_bytes", 3.5),
    (STATE, "metrics_bytes", True),
    (STATE, "metrics_crc32", 1),
    (STATE, "begin_bytes", 10**9),
    (STATE, "config", {"model": 5}),
    (STATE, "config", []),
    (STATE, "ledger", {}),
    (STATE, "ledger", None),
    (STATE, "ledger.step_s", 0.0),
    (STATE, "ledger.step_j", "much"),
    (STATE, "ledger.last_step", None),
    (STATE, "ledger.last_step", {"step": 9}),
    (STATE, "ledger.peak_memory_bytes", -1),
    (STATE, "ledger.looks", 10**40),
    (TRAINER, "log_history", None),
    (TRAINER, "log_history", [1, 2]),
    (TRAINER, "log_history", [{"step": 1}]),
    (TRAINER, "best_metric", "good"),
]


@pytest.mark.parametrize("name, key, value", CRAFTED, ids=lambda value: str(value)[:30])
def test_a_checkpoint_whose_words_cannot_be_is_passed_over(name: str, key: str, value: object, out: Path) -> None:
    craft(out, name, key, value)
    (out.parent / "precious-5").mkdir()
    found = find("auto", out)
    assert found and found.checkpoint == out / BEFORE
    [sentence] = found.damaged
    assert sentence.startswith(f"{out / NEWEST} ") and "\n" not in sentence
    with pytest.raises(ConfigError, match=f"{NEWEST} is damaged: it ") as refusal:
        find(str(out / NEWEST), None)
    assert "\n" not in str(refusal.value)
    assert (out.parent / "precious-5").is_dir()


def test_nothing_outside_is_deleted_and_the_run_is_as_it_would_have_been(out: Path, finished: Path) -> None:
    craft(out, STATE, "saved", [["../precious-5", None], ["checkpoint-6", 3.0]])
    (out.parent / "precious-5").mkdir()
    code, said, errors = go(out, *AGAIN)
    assert (code, errors) == (0, "")
    assert f"WARNING Checkpoint out/{NEWEST} is damaged: it has a run_state.json that was changed: 'saved.0.0'" in said
    assert (out.parent / "precious-5").is_dir()
    assert (out / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    assert (out / "run.json").read_bytes() == (finished / "run.json").read_bytes()


def damage_in_the_middle(out: Path) -> None:
    with (out / "metrics.jsonl").open("r+b") as file:
        file.seek((out / "metrics.jsonl").stat().st_size - 5000)
        file.write(b"#")


def cut_in_the_middle(out: Path) -> None:
    os.truncate(out / "metrics.jsonl", 5000)


def lose_metrics(out: Path) -> None:
    (out / "metrics.jsonl").unlink()


def put_pipe(out: Path) -> None:
    lose_metrics(out)
    os.mkfifo(out / "metrics.jsonl")


@pytest.mark.parametrize("damage", [damage_in_the_middle, cut_in_the_middle, lose_metrics, put_pipe])
def test_damaged_metrics_are_written_once_more(damage: Callable[[Path], None], out: Path, finished: Path) -> None:
    damage(out)
    code, said, errors = go(out, *AGAIN)
    assert (code, errors) == (0, "")
    assert "metrics.jsonl" in next(line for line in said.splitlines() if "WARNING" in line)
    assert (out / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


# --- run.json ---------------------------------------------------------------------------------------


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.json"))
    path.symlink_to("elsewhere.json")


RUN_FILES: dict[str, Callable[[Path], object]] = {
    "directory": replace_by_directory,
    "pipe": replace_by_pipe,
    "link": replace_by_link,
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: os.truncate(path, 500),
    "deep": lambda path: path.write_text("[" * 100_000),
    "other program": lambda path: path.write_text('{"format": 1}'),
    "seed": lambda path: change(path, lambda document: document["config"]["run"].update(seed=7)),
    "checksum": lambda path: change(path, lambda document: document.update(sha256="0")),
    "end": lambda path: change(path, lambda document: document["end"].update(clock_s=1e308)),
    "fraction": lambda path: change(path, lambda document: document["end"].update(metrics_bytes=3.5)),
    "no object": lambda path: change(path, lambda document: document.update(end=[1])),
}


@pytest.mark.parametrize("kind", RUN_FILES)
def test_a_damaged_run_file_is_refused_and_no_byte_of_the_metrics_is_cut(
    kind: str, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    RUN_FILES[kind](out / "run.json")
    code, said, errors = go(out, *AGAIN, "--runs", "2")
    assert (code, said) == (2, "")
    assert errors.startswith("--resume: auto finds that out is damaged: it has a run.json ")
    assert f"Name a checkpoint, such as --resume out/{NEWEST}." in errors
    assert len(errors.splitlines()) == 1
    assert (out / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


def test_the_way_out_of_a_lost_run_file_works(out: Path, finished: Path) -> None:
    (out / "run.json").unlink()
    code, _, errors = go(out)
    assert code == 2 and f"Go on with --resume out/{NEWEST}" in errors
    assert go(out, "--resume", f"out/{NEWEST}")[::2] == (0, "")
    assert (out / "run.json").read_bytes() == (finished / "run.json").read_bytes()


def test_an_end_that_is_sealed_and_impossible_is_refused(finished: Path, tmp_path: Path) -> None:
    """Its checksum agrees, as somebody can make it; its figures do not."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    document = json.loads((out / "run.json").read_text())
    sealed = {key: value for key, value in document.items() if key != "end"}
    end = {"clock_s": 1e308, "metrics_bytes": 5, "metrics_crc32": 0}
    document["end"] = end | {"sha256": checksum_of({**sealed, "end": end})}
    (out / "run.json").write_text(json.dumps(document))
    code, _, errors = go(out, *AGAIN, "--runs", "2")
    assert (code == 2 and "'clock_s' can't be" in errors) or "far too large" in errors
    assert (out / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


def test_the_next_run_does_not_follow_on_metrics_that_were_changed(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    damage_in_the_middle(out)
    before = (out / "metrics.jsonl").read_bytes()
    code, _, errors = go(out, *AGAIN, "--runs", "2")
    assert code == 2
    assert "out is damaged: counts on the first" in errors
    assert (out / "metrics.jsonl").read_bytes() == before


# --- Drawn damage -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths_of(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every place in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in paths_of(each, (*path, key)))]


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
def test_whatever_is_written_into_a_checkpoint_is_either_a_state_or_damage(data: st.DataObject, finished: Path) -> None:
    checkpoint = finished / NEWEST
    before = {name: (checkpoint / name).read_bytes() for name in (STATE, TRAINER, "manifest.json")}
    try:
        name = data.draw(st.sampled_from([STATE, TRAINER]))
        document: Any = json.loads(before[name])
        *above, last = data.draw(st.sampled_from(paths_of(document)[1:]))
        node = document
        for key in above:
            node = node[key]
        node[last] = data.draw(JSON)
        (checkpoint / name).write_text(json.dumps(document))
        agree(checkpoint)
        try:
            state = state_of_checkpoint(checkpoint)
        except Damaged as damage:
            assert "\n" not in str(damage)
        else:
            assert all(Path(saved).name == saved and saved.startswith("checkpoint-") for saved, _ in state.saved)
    finally:
        for name, content in before.items():
            (checkpoint / name).write_bytes(content)
