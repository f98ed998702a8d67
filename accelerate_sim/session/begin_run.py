"""Begin and end of a run in a session: process group, observers, checkpoints and first records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.checkpointing import Checkpoints
from accelerate_sim.checkpoints.trainer_state import TrainerHistory
from accelerate_sim.records import AttemptRecord, ProcessRecord
from accelerate_sim.reporting.build import start_record
from accelerate_sim.reporting.ledger import Ledger
from accelerate_sim.reporting.monitor import Monitor
from accelerate_sim.session.active_run import ActiveRun
from accelerate_sim.session.coordination import leave_world
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.tracker import RunStart
from accelerate_sim.training_progress import TrainingProgress

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption


def begin_run(session: Session, planned: PlannedRun, project_dir: Path | None = None) -> ActiveRun:
    """Join the process group of a planned run, make the run active, and report its beginning.

    ``project_dir`` holds its checkpoints; None: the session's output directory, or one named after the model.
    """
    run, resumption = Run.of(planned.plan), planned.resumption
    ended = resumption.ended if resumption else None
    if resumption and not resumption.checkpoint and not ended:
        resumption = None
    join_world(session, run.layout)
    active = _active_run(session, planned, run, resumption, project_dir or planned_dir(session, run))
    session.begin_run(active)
    session.outputs.begin_attempt(run.fault_facts.attempt if run.fault_facts else None)
    if planned.faults:
        planned.faults.begin(session, active, resumption)
        if planned.faults.takes_faults(session):
            from accelerate_sim.session.faults.live import LiveFaults

            session.runs.take_faults(LiveFaults(session, active, planned.faults))
    session.clock.set_speed(run.config.run.startup_speed or run.config.run.speed)
    if session.is_main_process:
        _report_beginning(session, active)
    _introduce_ranks(session)
    if session.rank_waits and not session.is_main_process:
        session.outputs.begin(_run_start(session, active))
    active.progress.reach("launch")
    return active


def end_run(session: Session) -> None:
    """End the active run, and leave its process group."""
    session.end_run()
    leave_world()


def join_world(session: Session, layout: Layout) -> None:
    """Join the process group of a run: as one of its processes, or without a launcher as all of its ranks."""
    if session.coordination:
        session.coordination.check_world(layout.world_size)
        with session.signals.at_once():
            session.coordination.meet()
        return
    import fake_torch_dist as dist

    leave_world()
    nodes = dist.VirtualOptions(ranks_per_node=layout.gpus_per_node)
    dist.init_process_group(backend="virtual", world_size=layout.world_size, pg_options=nodes)


def _active_run(
    session: Session, planned: PlannedRun, run: Run, resumption: Resumption | None, project_dir: Path
) -> ActiveRun:
    origin_s = resumption.state.origin_s if resumption else session.clock.now_s
    is_main, placement = session.is_main_process, session.placement
    clock = session.clock
    ledger, history = Ledger(run, clock), TrainerHistory(run)
    monitor = Monitor(run, session.report, None if is_main or placement is None else placement.ranks)
    checkpoints = Checkpoints(
        run=run, project_dir=project_dir, origin_s=origin_s, clock=clock, outputs=session.outputs,
        report=session.report, ledger=ledger, history=history, is_main_process=is_main,
        attempt=run.fault_facts.attempt if run.fault_facts else 0,
    )  # fmt: skip
    progress_type = planned.faults.progress_type(session) if planned.faults else TrainingProgress
    return ActiveRun(
        run=run, origin_s=origin_s,
        observers=(ledger, history) if is_main else (ledger,) if session.sums_up else (),
        ledger=ledger, monitor=monitor, checkpoints=checkpoints, resumption=resumption,
        own_script=planned.own_script,
        progress=progress_type(run, clock, origin_s + run.startup.total, checkpoints, monitor),
    )  # fmt: skip


def _introduce_ranks(session: Session) -> None:
    """Report each rank that this process plays but rank 0, which needs no introduction."""
    if placement := session.placement:
        for rank in placement.ranks:
            if rank:
                session.report(ProcessRecord(rank, rank % placement.local_world_size, placement.node))


def _report_beginning(session: Session, active: ActiveRun) -> None:
    """Write run.json and the start record of a new run, and tell the trackers of a new or resumed one."""
    run, time = active.run, session.clock.time()
    resumption = active.resumption
    step = _first_step(active)
    if resumption and resumption.ended:
        session.report(AttemptRecord(run.number, step, time, round(_elapsed_s(session, active), 6)))
    elif not step:
        active.checkpoints.begin()
        session.report(start_record(run, time))
    session.outputs.begin(_run_start(session, active))


def _run_start(session: Session, active: ActiveRun) -> RunStart:
    run = active.run
    return RunStart(
        run.number, run.model.name, run.seed, _first_step(active), session.clock.time(),
        config=run.config.model_dump(mode="json"),
        origin_s=active.origin_s,
        pids=session.coordination.pids if session.coordination else (),
        attempt=run.fault_facts.attempt if run.fault_facts else None,
    )  # fmt: skip


def _first_step(active: ActiveRun) -> int:
    """Steps that were made before this process began."""
    return active.resumption.state.step if active.resumption else 0


def _elapsed_s(session: Session, active: ActiveRun) -> float:
    return session.clock.now_s - active.progress.training_origin_s


def planned_dir(session: Session, run: Run) -> Path:
    """The directory of a run below the output directory, or the name that it would have if one were written."""
    if session.named_directory is None:
        return Path("outputs", run.model.name)
    from accelerate_sim.checkpoints.directory import path_of_run

    return path_of_run(session.named_directory, run.number)
