"""``run_attempt``: an attempt at a run in a process that reads the command line.

It is announced on the screen and to the other processes, and then trained.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.records import ResumeRecord, TightMemoryRecord
from accelerate_sim.session.attempt import AttemptEnd, attempt_number, report_launch, train_attempt
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session
from accelerate_sim.sim.memory.fit import tightness

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.session.coordination import Coordination


def run_attempt(
    train: Callable[[RunConfig], None], session: Session, planned: PlannedRun, *, is_last: bool, is_steered: bool
) -> AttemptEnd:
    """Announce an attempt of a run on the screen and to the other processes, and train it."""
    if planned.faults and planned.resumption and planned.resumption.ended:
        session.plan_run(planned)
        planned.faults.begin_again(session)
    elif planned.resumption:
        planned = _resumed(session, planned, planned.resumption)
    session.plan_run(planned)
    announce(session, planned)
    if is_steered and planned.plan.config.run.speed < math.inf:
        _open_control(session)
    if planned.resumption and planned.resumption.ended:
        _report_resumption(session, planned.resumption)
    if session.coordination:
        _send_start(session, session.coordination, planned, is_last=is_last)
    return train_attempt(train, session, planned)


def announce(session: Session, planned: PlannedRun) -> None:
    """Print the first line of a run at once, before the modules of the training are imported."""
    if not session.runs.announces(planned.plan.number, attempt_number(session, planned)):
        return
    report_launch(session, planned)
    if warning := tightness(planned.plan):
        session.report(TightMemoryRecord(warning))
    session.flush()


def _open_control(session: Session) -> None:
    """Let ``fake-torchrun ctl`` send commands to a session whose clock waits for real time."""
    if not session.has_control and session.is_main_process:
        from accelerate_sim.session.control.server import open_control

        if server := open_control(session):
            session.take_commands(server.close)


def _resumed(session: Session, planned: PlannedRun, resumption: Resumption) -> PlannedRun:
    """Set the clock to the start of the resuming process, and log which checkpoints it takes and finds damaged."""
    plan, state = planned.plan, resumption.state
    session.plan_run(planned)
    session.clock.jump_to(state.clock_s)
    if resumption.checkpoint:
        from accelerate_sim.checkpoints.state import restart_s
        from accelerate_sim.sim.run import Run

        plan = Run.of(plan)
        session.clock.jump_to(restart_s(plan, state))
    _report_resumption(session, resumption)
    return replace(planned, plan=plan)


def _report_resumption(session: Session, resumption: Resumption) -> None:
    checkpoint = str(resumption.checkpoint) if resumption.checkpoint else None
    session.report(ResumeRecord(checkpoint, resumption.damaged))


def _send_start(session: Session, coordination: Coordination, planned: PlannedRun, *, is_last: bool) -> None:
    """Let the other processes begin the same run."""
    from accelerate_sim.session.start_message import StartMessage

    plan, clock, directory = planned.plan, session.clock, session.outputs.directory
    message = StartMessage(
        plan.config.model_dump(mode="json"), plan.number, clock.start, clock.now_s, planned.resumption, is_last,
        output_dir=str(directory) if directory else None,
        cwd=os.getcwd() if directory and plan.config.log.hazards else "",
    )  # fmt: skip
    if planned.faults:
        message = planned.faults.in_message(message)
    with session.signals.at_once():
        coordination.send(message)
        if "prometheus" in plan.config.log.trackers:
            from accelerate_sim.session.node_exporters import open_node_exporters

            open_node_exporters(session, plan.config.log)
