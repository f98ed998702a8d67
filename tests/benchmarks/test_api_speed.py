"""Processor time to iterate the records of a run of 3,000 steps. Printed.

python -m pytest -m slow tests/benchmarks/test_api_speed.py -s
"""

from __future__ import annotations

import time

import pytest

from accelerate_sim.api import play

pytestmark = pytest.mark.slow

ROUNDS = 3
MOST_S = 1.0


def test_seconds_to_iterate_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    list(play("debug"))  # imports what a run needs
    times = []
    for _ in range(ROUNDS):
        begin_s = time.process_time()
        count = sum(1 for _ in play("llama70b"))
        times.append(time.process_time() - begin_s)
    with capsys.disabled():
        print(f"\n  {count:,} records of 3,000 steps on 64 GPUs: {min(times):.2f} s (up to {max(times):.2f})")
    assert min(times) <= MOST_S
