"""Runs at full speed with metrics.jsonl, against writing the same file with ``json`` alone; and their memory."""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.benchmarks.figure import IMPORTS, TRAIN, Figure, cost_of

STEPS = {"llama70b": 3000, "llama405b": 1500}
SHORT = 100
"""Steps of the run whose memory the longer one is held against."""


def _run(config: str, steps: int, directory: Path) -> tuple[str, ...]:
    return (*TRAIN, "--config", config, "--speed", "max", "--max-steps", str(steps), "--output-dir", str(directory))


def _ms_of_a_step(config: str) -> float:
    """Processor milliseconds of a step: those of a run, without those of a run of one step."""
    steps = STEPS[config]
    with tempfile.TemporaryDirectory() as directory:
        whole = cost_of(_run(config, steps, Path(directory, "whole"))).cpu_s
        one = cost_of(_run(config, 1, Path(directory, "one"))).cpu_s
    return (whole - one) * 1e3 / (steps - 1)


def _ms_of_its_json(config: str) -> float:
    """Processor milliseconds to write the lines of metrics.jsonl with ``json``, each as it comes, by step."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory, "run")
        cost_of(_run(config, STEPS[config], run))
        events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        begin = time.process_time()
        with Path(directory, "copy.jsonl").open("w") as copy:
            for event in events:
                copy.write(json.dumps(event, separators=(",", ":")) + "\n")
        return (time.process_time() - begin) * 1e3 / STEPS[config]


def _peak_mb(config: str, steps: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        return cost_of(_run(config, steps, Path(directory, "run"))).peak_bytes / 1e6


def figures() -> list[Figure]:
    """The rows of the page."""
    gpus = {"llama70b": "64 GPUs", "llama405b": "16,384 GPUs"}
    found = []
    for config, size in gpus.items():
        most = STEPS[config]
        found += [
            Figure(
                f"a step of {size}", "ms CPU", "`json` of its lines",
                partial(_ms_of_a_step, config), partial(_ms_of_its_json, config),
            ),
            Figure(
                f"peak memory of {size}", "MB", "bare imports",
                partial(_peak_mb, config, SHORT), lambda: cost_of(IMPORTS).peak_bytes / 1e6,
            ),
            Figure(
                f"peak memory of {size}, {most:,} steps", "MB", f"{SHORT} steps",
                partial(_peak_mb, config, most), partial(_peak_mb, config, SHORT),
            ),
        ]  # fmt: skip
    return found
