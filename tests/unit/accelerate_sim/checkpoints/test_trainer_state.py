"""The history that trainer_state.json tells has a bound, and is the same however often a run was resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.accelerator import Accelerator
from accelerate_sim.checkpoints.trainer_state import MOST_ENTRIES, TrainerHistory, thinned
from accelerate_sim.records import EvalRecord, StepRecord

STEPS = 7000


def entries(steps: list[int]) -> list[dict[str, Any]]:
    return [{"step": step} for step in steps]


@given(
    every=st.integers(1, 7),
    last=st.integers(1, 9000),
    before=st.lists(st.integers(1, 9000), max_size=3),
    extra=st.sets(st.integers(1, 9000), max_size=20),
)
def test_what_is_left_does_not_depend_on_when_it_was_thinned(
    every: int, last: int, before: list[int], extra: set[int]
) -> None:
    steps = sorted({*range(every, last + 1, every), *(step for step in extra if step <= last)})
    at_once = thinned(entries(steps), last, every)
    left: list[dict[str, Any]] = []
    done = 0
    for moment in sorted(step for step in before if step <= last):
        left = thinned([*left, *entries([step for step in steps if done < step <= moment])], moment, every)
        done = moment
    assert thinned([*left, *entries([step for step in steps if step > done])], last, every) == at_once
    assert len(at_once) <= MOST_ENTRIES


def test_a_short_run_keeps_everything() -> None:
    steps = list(range(5, 5 * MOST_ENTRIES + 1, 5))
    assert thinned(entries(steps), steps[-1], 5) == entries(steps)
    assert thinned(entries([3, 20]), 10, 1) == entries([3])  # later ones are another checkpoint's


def observe(history: TrainerHistory, first: int, last: int) -> None:
    for step in range(first, last + 1):
        loss = 3.0 + abs(step - 4000) / 1000
        history.observe(
            StepRecord(1, 1, step, datetime(2026, 1, 1), 1.0, 1.0, loss, 2.0, 1.0, 1e-4, 8, 8 * step, 8.0, 0.4, 1)
        )
        if step % 3 == 0:
            history.observe(EvalRecord(1, 1, step, loss, 2.0, 0.5, False))
        history.thin(step)


@pytest.fixture
def run(accelerate: Callable[..., Accelerator]) -> Any:
    return accelerate(train={"steps_per_epoch": 5000}, log={"every": 2}).run


def test_a_resumed_run_tells_the_same(run: Any) -> None:
    whole, first, second = TrainerHistory(run), TrainerHistory(run), TrainerHistory(run)
    observe(whole, 1, STEPS)
    observe(first, 1, 4500)
    second.go_on_with(json.loads(json.dumps(first.trainer_state(4500))))
    observe(second, 4501, STEPS)
    told = whole.trainer_state(STEPS)
    assert second.trainer_state(STEPS) == told
    assert len(told["log_history"]) <= 2 * MOST_ENTRIES
    assert (told["best_metric"], told["best_global_step"]) == (3.001, 3999)
    assert whole.validation_loss(STEPS) is None and second.validation_loss(STEPS) is None


def test_a_checkpoint_of_the_step_before_knows_nothing_of_later(run: Any) -> None:
    history = TrainerHistory(run)
    observe(history, 1, 12)
    told = history.trainer_state(8)
    assert [entry["step"] for entry in told["log_history"]] == [2, 3, 4, 6, 6, 8]
    assert [entry["step"] for entry in told["log_history"] if "eval_loss" in entry] == [3, 6]


def test_a_loss_is_the_mean_since_the_entry_before(run: Any) -> None:
    history = TrainerHistory(run)
    observe(history, 1, 4)
    losses = [entry["loss"] for entry in history.trainer_state(4)["log_history"] if "loss" in entry]
    assert losses == pytest.approx([3.0 + (3999 + 3998) / 2000, 3.0 + (3997 + 3996) / 2000], abs=5e-5)


def test_a_checkpoint_between_two_entries_changes_no_mean(run: Any) -> None:
    """Losses of the run itself, as the steps before the checkpoint have to be known again."""
    whole, first, second = TrainerHistory(run), TrainerHistory(run), TrainerHistory(run)
    for history, steps in ((whole, range(1, 9)), (first, range(1, 6))):
        observe_run(history, run, steps)
    second.go_on_with(json.loads(json.dumps(first.trainer_state(5))))
    observe_run(second, run, range(6, 9))
    assert second.trainer_state(8) == whole.trainer_state(8)


def observe_run(history: TrainerHistory, run: Any, steps: range) -> None:
    for step in steps:
        loss = round(run.loss_at(step - 1), 7)
        history.observe(
            StepRecord(1, 1, step, datetime(2026, 1, 1), 1.0, 1.0, loss, 2.0, 1.0, 1e-4, 8, 8 * step, 8.0, 0.4, 1)
        )


def test_the_control_of_the_trainer_has_saved_and_stops_at_the_end(run: Any) -> None:
    history = TrainerHistory(run)
    for step, stops in ((4, False), (run.last_step, True)):
        control = history.trainer_state(step)["stateful_callbacks"]["TrainerControl"]
        assert control["attributes"] == {}
        assert control["args"] == {
            "should_epoch_stop": False, "should_evaluate": False, "should_log": False, "should_save": True,
            "should_training_stop": stops,
        }  # fmt: skip
