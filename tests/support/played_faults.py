"""Runs in which faults happen, in one process and as a job of 4, and the claims of faults.jsonl held against them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.reading import Train
from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher

DEADLINE_S = 200.0
RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max", "--start-time", "2026-01-31T09:30:00",
    "--no-progress", "--set", "checkpoint.shards=tiny", "--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=2",
    "--set", "checkpoint.every=5", "--set", "checkpoint.keep_last=2",
)  # fmt: skip


@dataclass(frozen=True)
class FaultyRun:
    """The files and the output of a run with faults."""

    directory: Path
    returncode: int
    stdout: str
    stderr: str
    logs: Path | None = None
    """The launcher's log directory; None for one process, which prints for all ranks."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of faults.jsonl without the real time."""
        found = [json.loads(line) for line in (self.directory / "faults.jsonl").read_text().splitlines()]
        return [{key: value for key, value in event.items() if key != "wall"} for event in found]

    @property
    def begun(self) -> list[dict[str, Any]]:
        """The strikes in their order."""
        return [event for event in self.events if event["state"] == "begin"]

    @property
    def metrics(self) -> str:
        return (self.directory / "metrics.jsonl").read_text().replace(str(self.directory), "DIR")

    def kernel(self, host: str) -> str:
        path = self.directory / "nodes" / host / "kern.log"
        return path.read_text() if path.exists() else ""

    def said(self, attempt: int, rank: int, stream: str) -> str:
        """The output of a rank in an attempt; of one process, that of all ranks."""
        if self.logs is None:
            return self.stderr if stream == "stderr" else self.stdout
        node, local = divmod(rank, 2)
        (path,) = self.logs.glob(f"node{node}/*/attempt_{attempt}/{local}/{stream}.log")
        return path.read_text()


def arguments(*faults: str, restarts: int = 3) -> list[str]:
    words = [argument for text in faults for argument in ("--fault", text)]
    return [*RUN, *words, "--set", f"faults.restarts={restarts}"]


def play_alone(train: Train, directory: Path, *faults: str, restarts: int = 3, more: Sequence[str] = ()) -> FaultyRun:
    """Play a run in one process; ``more`` are further arguments."""
    words = [*arguments(*faults, restarts=restarts), *more]
    run = train(*words, "--output-dir", str(directory), cwd=directory.parent)
    return FaultyRun(directory, run.returncode, run.stdout, run.stderr)


def play_launched(directory: Path, *faults: str, restarts: int = 3) -> FaultyRun:
    """Play a run as 4 processes on 2 nodes."""
    logs = directory.with_name(f"{directory.name}-logs")
    flags = ["--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", str(restarts), "--shutdown-timeout", "2"]
    run = run_launcher(
        [*flags, "--log-dir", str(logs), "--redirects", "3",
         str(ROOT / "train.py"), *arguments(*faults, restarts=restarts), "--output-dir", str(directory)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, cwd=directory.parent, timeout=DEADLINE_S,
    )  # fmt: skip
    return FaultyRun(directory, run.returncode, run.stdout, run.stderr, logs)


def hold_claims(run: FaultyRun) -> None:
    """Fail unless everything that faults.jsonl says a detector can find is there, where it says so."""
    for event in run.begun:
        expect = event["expect"]
        for each in expect.get("logs", ()):
            said = run.said(event["attempt"], each["rank"], each["stream"])
            assert re.search(each["regex"], said, re.MULTILINE), (event["id"], each)
        for each in expect["kernel"]:
            if isinstance(each, dict):
                assert re.search(each["regex"], run.kernel(each["host"]), re.MULTILINE), (event["id"], each)
        ends = [f"failed (exitcode: {end['code']}) local_rank: {end['rank'] % 2} " for end in expect["exit"]]
        if ends:  # of ranks that really end at the same moment, the launcher names the one that it sees first
            named = ends if run.logs else ends[:1]
            assert any(text in run.stderr for text in named), (event["id"], named, run.stderr)
