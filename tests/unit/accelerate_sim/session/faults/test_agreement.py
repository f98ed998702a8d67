"""Ranks of a job that takes faults agree twice in a real second, after the same steps, and at least every 32 steps."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from accelerate_sim.session.faults.agreement import AgreeingProgress


def progress(speed: float, step_s: float = 1.0, first_step: int = 0) -> tuple[AgreeingProgress, list[int]]:
    """The position of a rank in a run of 100 steps, and the steps after which it has agreed."""
    run: Any = SimpleNamespace(step_end_s=lambda step: (step + 1) * step_s, last_step=100, mean_step_s=step_s)
    clock: Any = SimpleNamespace(advance_to=lambda second: None)
    checkpoints: Any = SimpleNamespace(mark=lambda step: None)
    made = AgreeingProgress(run, clock, 0.0, checkpoints, SimpleNamespace())
    agreed: list[int] = []

    def agree() -> float:
        agreed.append(made.completed_steps)
        return speed

    made.agree_by(agree)
    if first_step:
        made.continue_after(first_step)
    for _ in range(first_step, 100):
        made.finish_step()
    return made, agreed


@pytest.mark.parametrize("speed, steps", [
    (1.0, list(range(1, 101))), (4.0, list(range(1, 101, 2))), (9.0, list(range(1, 101, 5))),
    (math.inf, [1, 33, 65, 97]),
])  # fmt: skip
def test_agreements_are_half_a_real_second_apart(speed: float, steps: list[int]) -> None:
    assert progress(speed)[1] == steps


@pytest.mark.parametrize("step_s, steps", [(20.0, [1, 33, 65, 97]), (0.2, [1, 51]), (0.01, [1])])
def test_short_steps_are_more_between_two_agreements(step_s: float, steps: list[int]) -> None:
    assert progress(1e9, step_s)[1] == steps


def test_an_attempt_agrees_after_its_first_step() -> None:
    assert progress(20.0, first_step=40)[1] == [41, 51, 61, 71, 81, 91]


def test_the_next_agreement_is_known_before_it_comes() -> None:
    made, agreed = progress(8.0)
    assert made.due == agreed[-1] + 4
