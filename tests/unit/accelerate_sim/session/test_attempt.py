"""A run is trained in one attempt or in several, and the session knows which run is active."""

from __future__ import annotations

import pytest

import fake_torch_dist as dist
from accelerate_sim.accelerator import Accelerator, RunKwargs
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.records import Record, StartRecord
from accelerate_sim.session.attempt import AttemptEnd, train_attempt
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.run import Run
from accelerate_sim.state import PartialState

CONFIG = RunConfig.model_validate(
    {
        "model": "gpt2", "cluster": {"nodes": 1, "gpus_per_node": 2}, "parallel": {"tensor": 1},
        "train": {"sequence_length": 1024, "global_batch": 8, "micro_batch": 1}, "run": {"speed": "max"},
    }
)  # fmt: skip


def begun(config: RunConfig) -> Accelerator:
    return Accelerator(kwargs_handlers=[RunKwargs(config)])


def leave_early(config: RunConfig) -> None:
    """A training function that returns in the middle of its run."""
    begun(config)


def test_a_training_function_that_ends_its_run_has_finished(session: Session) -> None:
    def train(config: RunConfig) -> None:
        begun(config)
        session.end_run()

    assert train_attempt(train, session, PlannedRun(Plan(CONFIG))) is AttemptEnd.FINISHED
    assert session.active is None and session.runs.where() == "between two runs"


def test_one_that_returns_before_has_not_and_the_run_can_be_tried_again(session: Session, told: list[Record]) -> None:
    planned = PlannedRun(Plan(CONFIG, 3))
    for _ in range(2):
        assert train_attempt(leave_early, session, planned) is AttemptEnd.UNFINISHED
        assert session.active is None and not PartialState().initialized
    starts = [record for record in told if isinstance(record, StartRecord)]
    assert [(record.run, record.seed) for record in starts] == [(3, CONFIG.run.seed + 2)] * 2


def test_an_error_leaves_the_run_active(session: Session) -> None:
    def train(config: RunConfig) -> None:
        begun(config)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_attempt(train, session, PlannedRun(Plan(CONFIG)))
    assert session.active is not None and session.runs.where() == "before the first step"


def test_the_announced_plan_is_the_one_that_is_run(session: Session) -> None:
    """Results of the plan are not computed again."""
    plan, runs = Plan(CONFIG), []
    layout, throughput = plan.layout, plan.throughput

    def train(config: RunConfig) -> None:
        runs.append(begun(config).run)

    train_attempt(train, session, PlannedRun(plan))
    assert runs[0].layout is layout and runs[0].throughput is throughput
    assert Run.of(runs[0]) is runs[0]


def test_a_script_may_bring_a_config_of_its_own(session: Session) -> None:
    other = CONFIG.model_copy(update={"run": CONFIG.run.model_copy(update={"seed": 7})})
    session.plan_run(PlannedRun(Plan(CONFIG, 2)))
    run = begun(other).run
    assert (run.number, run.seed) == (2, 8)


def test_the_state_is_that_of_the_session(session: Session) -> None:
    accelerator = begun(CONFIG)
    assert PartialState().run is accelerator.run and PartialState().num_processes == 2
    assert session.world_size == 2 and session.read_gpus() is not None
    session.end_run()
    assert session.read_gpus() is None and dist.is_initialized()
    with pytest.raises(RuntimeError, match="initialize the accelerate state"):
        _ = PartialState().run


def test_prepare_connects_its_own_objects_and_leaves_others_alone(session: Session) -> None:
    accelerator = begun(CONFIG)

    class Foreign:
        __slots__ = ()

    foreign = Foreign()
    assert accelerator.prepare(foreign) is foreign
