"""The figures that the dashboard keeps of a run."""

from dataclasses import replace

from accelerate_sim.api import StepRecord, play
from accelerate_sim.dashboard.history import LATEST_KEPT, POINTS_KEPT, Curve, History


def test_a_long_run_takes_no_more_memory_than_a_short_one():
    history = History()
    first = next(record for record in play("debug", seed=1) if isinstance(record, StepRecord))
    for step in range(1, 5 * POINTS_KEPT):
        history.observe(replace(first, step=step, loss=1.0 / step))
    points = history.losses
    assert POINTS_KEPT // 2 <= len(points) <= POINTS_KEPT
    assert points == [(step, 1.0 / step) for step in range(1, 5 * POINTS_KEPT, 8)]
    assert len(history.step_s) == len(history.tokens_per_s) == LATEST_KEPT
    assert history.furthest_step == 5 * POINTS_KEPT - 1


def test_a_curve_keeps_all_points_as_long_as_there_are_few():
    curve: Curve[int] = Curve()
    for point in range(POINTS_KEPT):
        curve.add(point)
    assert curve == list(range(POINTS_KEPT))
