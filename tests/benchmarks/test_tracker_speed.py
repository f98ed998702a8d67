"""What trackers cost: steps per second at full speed with each of them, as shares of those without. Printed.

    python -m pytest -m slow tests/benchmarks/test_tracker_speed.py -s

Runs go by turns on the same machine; shares are of the medians. The goal: all together cost at most 30 %.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROUNDS = 5
STEPS = 6000
MOST_COST = 0.30
NAMES = [name for name in ("prometheus", "tensorboard", "wandb") if name == "prometheus" or find_spec(name)]
RUN = (
    sys.executable, str(ROOT / "train.py"), "--config", str(ROOT / "configs" / "llama70b.yaml"), "--speed", "max",
    "--no-progress", "--set", "log.prometheus_address=127.0.0.1:0",
)  # fmt: skip


def seconds(directory: Path, trackers: tuple[str, ...], steps: int) -> float:
    wanted = [word for name in trackers for word in ("--log-with", name)]
    begin = time.perf_counter()
    command = [*RUN, "--max-steps", str(steps), "--output-dir", str(directory), *wanted]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def test_steps_per_second_with_trackers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    combinations = [(), *((name,) for name in NAMES), tuple(NAMES)]
    rates: dict[tuple[str, ...], list[float]] = {trackers: [] for trackers in combinations}
    for turn in range(ROUNDS):
        for index, trackers in enumerate(combinations):
            start_s = seconds(tmp_path / f"{turn}-{index}-start", trackers, 1)
            whole_s = seconds(tmp_path / f"{turn}-{index}", trackers, STEPS)
            rates[trackers].append((STEPS - 1) / (whole_s - start_s))
    median = {trackers: statistics.median(of_run) for trackers, of_run in rates.items()}
    with capsys.disabled():
        print()
        for trackers, rate in median.items():
            share = rate / median[()]
            print(f"  {' + '.join(trackers) or 'metrics.jsonl alone':38} {rate:7,.0f} steps/s   {share:.2f}")
    assert median[tuple(NAMES)] >= (1.0 - MOST_COST) * median[()]
