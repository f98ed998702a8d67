"""A plan's time for a whole run, with everything that disturbs its steps."""

from __future__ import annotations

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.run import Run


def run(steps: int, seed: int = 42, **train: object) -> Run:
    """Llama 3 70B on 64 H100s."""
    sections = {"train": {"epochs": 1, "steps_per_epoch": steps, "micro_batch": 2, **train}, "run": {"seed": seed}}
    return Run(RunConfig.model_validate(sections))


@pytest.mark.parametrize("steps", [1, 20, 256, 257, 3000])
def test_a_short_run_is_counted_step_by_step(steps: int) -> None:
    one = run(steps)
    assert one.likely_s(steps) == pytest.approx(one.step_times.seconds(np.arange(steps)).sum())


@pytest.mark.parametrize("ramp", [None, {"start": 16, "increment": 16, "samples": 400_000}])
def test_blocks_stand_for_a_long_run(ramp: dict[str, int] | None) -> None:
    """A few thousand steps tell of 60,000 what they take, to within half a per cent."""
    errors, disturbed = [], []
    for seed in range(8):
        one = run(60_000, seed, batch_ramp=ramp)
        took = sum(one.step_times.seconds(np.arange(first, first + 6000)).sum() for first in range(0, 60_000, 6000))
        errors.append(one.likely_s(60_000) / took - 1.0)
        disturbed.append(took / one.expected_s(60_000) - 1.0)
    assert np.max(np.abs(errors)) < 0.01
    assert np.mean(np.abs(errors)) < 0.005
    assert np.max(np.abs(disturbed)) > 2 * np.mean(np.abs(errors))


def test_a_slow_first_step_is_most_of_what_disturbs_a_short_run() -> None:
    one = run(10)
    first = one.step_times.seconds(np.arange(1))[0]
    assert one.likely_s(10) - one.expected_s(10) == pytest.approx(first - one.mean_step_s, rel=0.25)


def test_imposed_times_are_counted_too() -> None:
    one = Run(RunConfig.model_validate({"impose": {"step_time_s": [0.03, 0.08]}}))
    assert one.likely_s(3000) == pytest.approx(one.step_times.seconds(np.arange(3000)).sum())
