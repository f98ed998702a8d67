"""Ranks of a job that starts again have nothing to load or to plan: it was done once before they were forked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.launched import Jobs, jobs_in
from tests.support.repository import ROOT

SCRIPT = f"""
import os, sys
import accelerate_sim
before = set(sys.modules)
import runpy
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
finally:
    if int(os.environ["TORCHELASTIC_RESTART_COUNT"]) and os.environ["RANK"] != "0":
        names = sorted(name for name in set(sys.modules) - before if not name.startswith(("runpy", "_")))
        os.write(2, f"LOADED {{names}}\\n".encode())
"""
PLANNED = f"""
import os, runpy
import accelerate_sim
from accelerate_sim.sim.run import Run
computed = []
Run._compute_block = lambda run, index, compute=Run._compute_block: computed.append(index) or compute(run, index)
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
finally:
    os.write(2, f"COMPUTED {{computed}} in attempt {{os.environ['TORCHELASTIC_RESTART_COUNT']}}\\n".encode())
"""
FLAGS = ("--nproc-per-node", "3", "--max-restarts", "1", "--shutdown-timeout", "2")
RUN = ("--speed", "max", "--no-progress", "--set", "cluster.nodes=1", "--set", "cluster.gpus_per_node=3",
       "--set", "checkpoint.shards=tiny", "--set", "train.global_batch=24", "--max-steps", "4",
       "--set", "train.warmup_steps=1")  # fmt: skip


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path)


@pytest.mark.parametrize("place", ["the command line", "a config"])
def test_a_rank_that_starts_again_imports_nothing(jobs: Jobs, tmp_path: Path, place: str) -> None:
    config, words = ROOT / "configs/debug.yaml", ("--fault", "kill rank=1 at=step:3")
    if place == "a config":
        text = config.read_text() + f"\nfaults:\n  play: {json.dumps([words[1]])}\n"
        config, words = tmp_path / "own.yaml", ()
        config.write_text(text)
    ended = jobs.run(SCRIPT, *FLAGS, arguments=("--config", str(config), *RUN, *words))
    assert ended.code == 0, ended.err
    assert {line for line in ended.err.splitlines() if "LOADED" in line} == {"LOADED []"}


def test_a_rank_computes_no_steps_that_were_computed_before_it_was_forked(jobs: Jobs) -> None:
    words = ("--config", str(ROOT / "configs/debug.yaml"), *RUN, "--fault", "kill rank=1 at=step:3")
    ended = jobs.run(PLANNED, *FLAGS, arguments=words)
    assert ended.code == 0, ended.err
    computed = [line for line in ended.err.splitlines() if line.startswith("COMPUTED") and "attempt 1" in line]
    assert computed == ["COMPUTED [] in attempt 1"] * 3
