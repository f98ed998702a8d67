"""The order of a session's runs: their plans, their numbers, and what ends with each of them."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.runs import Runs
from accelerate_sim.sim.plan import Plan


def active(**facts: Any) -> Any:
    return SimpleNamespace(where=lambda: "step 3/6", **facts)


def test_a_planned_run_is_planned_once() -> None:
    runs, planned = Runs(), PlannedRun(Plan(RunConfig(), 3))
    runs.plan(planned)
    assert runs.planned(planned.plan.config) is planned
    own = runs.planned(RunConfig())
    assert own is not planned and own.plan.number == 3, "a script that brings a config of its own has a plan of its own"


def test_each_run_has_the_next_number() -> None:
    runs, config = Runs(), RunConfig()
    assert runs.planned(config).plan.number == 1
    runs.end()
    assert runs.planned(config).plan.number == 2


def test_the_first_line_of_an_attempt_is_printed_once() -> None:
    runs = Runs()
    assert [runs.announces(*each) for each in ((1, 0), (1, 0), (1, 1), (2, 0), (2, 0))] == [
        True, False, True, True, False,
    ]  # fmt: skip


def test_the_end_of_a_run_ends_what_is_its_own() -> None:
    runs = Runs()
    assert runs.where() == "before the first step"
    runs.begin(active())
    runs.skew_clocks(lambda rank: timedelta(seconds=rank))
    runs.take_faults(SimpleNamespace(ask=lambda words: "", ahead=list))
    assert runs.where() == "step 3/6"
    runs.end()
    assert (runs.active, runs.skew, runs.live_faults) == (None, None, None)
    assert runs.where() == "between two runs"


def test_idle_gpus_are_read_until_the_next_attempt_begins() -> None:
    runs = Runs()
    runs.begin(active())
    runs.end_attempt()
    runs.idle_until_attempt(lambda: None)
    assert runs.active is None and runs.read_idle_gpus is not None
    runs.begin(active())
    assert runs.read_idle_gpus is None
