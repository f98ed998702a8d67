"""Cost of trackers: steps per second at full speed with each of them, as shares of those without. Printed.

    python -m pytest -m slow tests/benchmarks/test_tracker_speed.py -s

Runs go by turns on the same machine; times are the shortest of each, less that of a run of
one step. The goal: all together cost at most 30 %.
"""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.slow

ROUNDS = 3
STEPS = 8000
MOST_COST = 0.30
NAMES = [name for name in ("prometheus", "tensorboard", "wandb") if name == "prometheus" or find_spec(name)]
RUN = (
    sys.executable, str(ROOT / "train.py"), "--config", str(ROOT / "configs" / "llama70b.yaml"), "--speed", "max",
    "--no-progress", "--set", "log.prometheus_address=127.0.0.1:0", "--set", "checkpoint.every=0",
    "--set", f"train.steps_per_epoch={STEPS}",
)  # fmt: skip


def seconds(directory: Path, trackers: tuple[str, ...], steps: int) -> float:
    wanted = [word for name in trackers for word in ("--log-with", name)]
    begin = time.perf_counter()
    command = [*RUN, "--max-steps", str(steps), "--output-dir", str(directory), *wanted]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    taken_s = time.perf_counter() - begin
    assert (directory / "metrics.jsonl").read_text().count('{"event":"step"') == steps
    return taken_s


def test_steps_per_second_with_trackers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    combinations = [(), *((name,) for name in NAMES), tuple(NAMES)]
    starts: dict[tuple[str, ...], list[float]] = {trackers: [] for trackers in combinations}
    wholes: dict[tuple[str, ...], list[float]] = {trackers: [] for trackers in combinations}
    for turn in range(ROUNDS):
        for index, trackers in enumerate(combinations):
            starts[trackers].append(seconds(tmp_path / f"{turn}-{index}-start", trackers, 1))
            wholes[trackers].append(seconds(tmp_path / f"{turn}-{index}", trackers, STEPS))
    rate = {each: (STEPS - 1) / (min(wholes[each]) - min(starts[each])) for each in combinations}
    with capsys.disabled():
        print()
        for trackers in combinations:
            name = " + ".join(trackers) or "metrics.jsonl alone"
            print(f"  {name:38} {rate[trackers]:7,.0f} steps/s   {rate[trackers] / rate[()]:.2f}")
    assert rate[tuple(NAMES)] >= (1.0 - MOST_COST) * rate[()]
