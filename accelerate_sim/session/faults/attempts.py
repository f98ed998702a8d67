"""The attempts of a run with faults: one after the other in one process; the launcher starts each one elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.artifacts.damage import Damaged
from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd
from accelerate_sim.checkpoints.directory import RunDirectory, checkpoint_step, state_of_checkpoint
from accelerate_sim.checkpoints.resume import Resumption
from accelerate_sim.checkpoints.state import RunState
from accelerate_sim.faults.planned import schedule_of
from accelerate_sim.session import ready_runs
from accelerate_sim.session.begin_run import planned_dir
from accelerate_sim.session.faults.attempt_play import AttemptPlay
from accelerate_sim.session.faults.struck import Struck
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.restarts import restarts_of
from accelerate_sim.sim.run import Run
from fake_torch_dist.terminal.descriptor import printable

if TYPE_CHECKING:
    from accelerate_sim.records import DeviceRecord
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.session.faults.truth_log import TruthLog
    from accelerate_sim.session.session import Session
    from accelerate_sim.sim.plan import Plan


def play_attempts(session: Session, planned: PlannedRun, play_one: Callable[[PlannedRun], object]) -> int:
    """Play a run until it is over or its restarts are used up. Returns the exit code.

    ``play_one`` plays one attempt. Under a launcher it is the only one: the process ends with it.
    """
    run, resumption = Run.of(planned.plan), planned.resumption
    if session.coordination and session.outputs.directory is None:
        resumption = _left_with_launcher(session, run)
    number = resumption.attempt if resumption else 0
    restarts = number + restarts_of(run.config)
    asked = _asked_before(session, run) if resumption else ()
    ready = ready_runs.play_of(run, restarts, number, asked)
    schedule = ready.schedule if ready else schedule_of(run, restarts, number, asked)
    truth = _truth_log(session, run)
    if truth:
        truth.planned(schedule)
    while True:
        origin_s = resumption.state.origin_s if resumption else session.clock.now_s
        known, ready = ready, None
        play = known or AttemptPlay.of(run, schedule, number)
        assert play is not None
        play = replace(play, origin_s=origin_s, truth=truth)
        try:
            play_one(PlannedRun(play.run, resumption, faults=play))
        except Struck as struck:
            play, schedule = struck.play, struck.play.schedule
            ended = session.active
            session.end_attempt()
            from accelerate_sim.session.faults.launcher_report import report_end

            report_end(session, play.attempt)
            if not play.attempt.goes_on:
                if truth:
                    truth.finished()
                session.flush()
                return 1
            number, resumption = number + 1, resumption_of(struck.end, session, run)
            if ended:
                session.runs.idle_until_attempt(_idle_gpus(ended, AttemptPlay.of(run, schedule, number)))
            continue
        if truth:
            truth.finished()
        return 0


def _idle_gpus(ended: ActiveRun, following: AttemptPlay | None) -> Callable[[], DeviceRecord | None]:
    """A reader of the GPUs while no process is on them: what has failed stays failed until the job starts again."""

    def read() -> DeviceRecord | None:
        last = ended.read_gpus(ended.progress.clock.now_s)
        if last is None or following is None:
            return None
        from accelerate_sim.monitoring.device_agent import DeviceAgent

        now = DeviceAgent(following.run).read(ended.progress.elapsed_s, {}, 0.0, 0)
        return now and replace(now, energy_j=last.energy_j, nvlink_bytes=last.nvlink_bytes)

    return read


def _left_with_launcher(session: Session, run: Run) -> Resumption | None:
    from accelerate_sim.session.faults.launcher_store import find

    end = find()
    return resumption_of(end, session, run) if end and end.run == run.number else None


def _asked_before(session: Session, run: Run) -> tuple[str, ...]:
    """The words of the faults that the run was asked for before this process began."""
    directory = session.outputs.directory
    if directory:
        from accelerate_sim.session.faults.truth_log import asked_in

        return asked_in(directory, run.number)
    if session.coordination is None:
        return ()
    from accelerate_sim.session.faults.launcher_store import find_asked

    return find_asked(run.number)


def resumption_of(end: SavedAttemptEnd, session: Session, plan: Plan) -> Resumption:
    """The state that the attempt after ``end`` goes on from."""
    state = RunState(
        run=end.run, step=end.step, config=end.config, start_time=end.start_time, origin_s=end.origin_s,
        clock_s=end.origin_s, metrics_bytes=end.metrics_bytes, metrics_crc32=end.metrics_crc32,
        begin_bytes=end.begin_bytes, begin_crc32=end.begin_crc32, attempt=end.attempt,
    )  # fmt: skip
    directory = planned_dir(session, Run.of(plan))
    path = directory / f"checkpoint-{end.step}" if end.step else None
    damaged: tuple[str, ...] = ()
    if session.outputs.directory and not session.coordination:
        damaged = _damaged_after(directory, end.step)
    return Resumption(session.outputs.directory or Path(), state, path, damaged, ended=end)


def _damaged_after(directory: Path, step: int) -> tuple[str, ...]:
    """Sentences of ``--resume`` about the checkpoints of a run after ``step`` that are damaged, the newest first."""
    found = []
    for path in RunDirectory(directory).checkpoints():
        if (checkpoint_step(path) or 0) > step:
            try:
                state_of_checkpoint(path)
            except Damaged as error:
                found.append(f"{printable(str(path))} is damaged: it {error}")
    return tuple(found)


def _truth_log(session: Session, run: Run) -> TruthLog | None:
    outputs = session.outputs
    if outputs.directory is None and outputs.on_fault is None:
        return None
    from accelerate_sim.session.faults.truth_log import TruthLog

    return TruthLog(outputs.directory, session.clock, run, outputs.on_fault)
