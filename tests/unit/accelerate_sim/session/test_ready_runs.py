"""Runs that are planned before the ranks are forked are taken for the same config only, and have the same figures."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.faults.planned import schedule_of
from accelerate_sim.session import follower, ready_runs
from accelerate_sim.session.faults.attempt_play import AttemptPlay
from accelerate_sim.session.run_source import RunSource, checked_plan
from accelerate_sim.session.start_message import StartMessage
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.run import Run

FAULTS = ["faults.play=[kill rank=1 at=step:3 times=2]", "faults.restarts=2"]
RESTARTS = 2


@pytest.fixture(autouse=True)
def none_ready() -> Iterator[None]:
    yield
    ready_runs._ready.clear()


def ready(*changes: str) -> tuple[ConfigSource, Plan]:
    source = ConfigSource.read(None, ["run.speed=max", *changes])
    plan = checked_plan(source, 1)
    ready_runs.make_ready(source.data, plan, RESTARTS)
    return source, plan


def sent(plan: Plan, number: int = 1, attempt: int | None = None, asked: tuple[str, ...] = ()) -> StartMessage:
    config = plan.config.model_dump(mode="json")
    return StartMessage.of(StartMessage(config, number, attempt=attempt, restarts=RESTARTS, asked=asked).json())


def test_another_config_or_number_is_not_taken() -> None:
    source, plan = ready()
    run = ready_runs.run_of(source.data, 1)
    assert run and run.config == plan.config
    assert ready_runs.run_of(json.loads(json.dumps(source.data)), 1) is run
    assert ready_runs.run_of(source.data, 2) is None
    assert ready_runs.run_of({**source.data, "run": {"seed": 1}}, 1) is None


def test_a_rank_takes_the_run_whose_config_it_is_sent() -> None:
    _, plan = ready()
    assert follower._planned(sent(plan)).plan is ready_runs._ready[0].run
    assert follower._planned(sent(plan, number=2)).plan.seed == plan.seed + 1
    ready("run.seed=7")
    planned = follower._planned(sent(plan)).plan
    assert planned is not ready_runs._ready[0].run and planned.config == plan.config


def test_rank_0_takes_the_run_if_its_file_and_options_are_the_same() -> None:
    ready()
    assert RunSource(None, ["run.speed=max"], seed=1).plan(1) is not ready_runs._ready[0].run  # it is drawn
    source = RunSource(None, ["run.speed=max"], seed=1)
    source._source = ConfigSource.read(None, ["run.speed=max"])
    assert source.plan(1) is ready_runs._ready[0].run


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_attempt_has_the_figures_that_a_rank_would_compute(number: int) -> None:
    _, plan = ready(*FAULTS)
    planned = follower._planned(sent(plan, attempt=number))
    run = Run(plan.config)
    play = AttemptPlay.of(run, schedule_of(run, RESTARTS, number), number)
    assert play and planned.faults is ready_runs._ready[0].plays[RESTARTS, number]
    assert planned.faults.attempt.first_step == play.attempt.first_step
    assert [each.second for each in planned.faults.attempt.occurrences] == [
        each.second for each in play.attempt.occurrences
    ]
    step = play.attempt.first_step
    ours, theirs = planned.faults.run, play.run
    assert ours.timing(step) == theirs.timing(step) and ours.lr(step) == theirs.lr(step)
    assert ours.micro_losses(step).tolist() == theirs.micro_losses(step).tolist()


def test_an_attempt_with_faults_that_were_asked_for_is_not_taken() -> None:
    _, plan = ready(*FAULTS)
    asked = ("hang rank=2 at=step:5 id=later",)
    planned = follower._planned(sent(plan, attempt=1, asked=asked))
    assert planned.faults is not ready_runs._ready[0].plays[RESTARTS, 1]
    assert len(planned.faults.schedule.asked_faults) == 1
