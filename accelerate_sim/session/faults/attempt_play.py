"""``AttemptPlay``: one attempt of a run with faults, in this process: its figures, and what happens at each strike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from accelerate_sim.artifacts.atomic import explained
from accelerate_sim.faults.attempt_run import AttemptRun
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.occurrence import Attempt, Occurrence
from accelerate_sim.faults.schedule import FaultSchedule
from accelerate_sim.faults.told import lines_of, tracebacks_of
from accelerate_sim.session.faults.agreement import AgreeingProgress
from accelerate_sim.session.faults.line_output import LineOutput
from accelerate_sim.session.faults.script_frames import calls_of_script
from accelerate_sim.session.faults.struck import Struck
from accelerate_sim.training_progress import Strike, TrainingProgress

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.session.faults.truth_log import TruthLog
    from accelerate_sim.session.session import Session
    from accelerate_sim.session.start_message import StartMessage
    from accelerate_sim.sim.plan import Plan

START_PLACES = {"launch": "launch", "rendezvous": "launch", "load": "load", "nccl": "nccl", "warmup": "warmup"}
"""Places of the start-up at which strikes happen, by phase; the rendezvous takes no time of its own."""
PLACES = {"eval": "validation", "checkpoint": "checkpoint", "export": "export", "exit": "export", "restore": "restore"}
"""Places of the training at which strikes happen whose phase is none of a step."""

LATE_S = 5.0
"""Simulated seconds after a strike from which a process that is really there waits before it writes a line."""


@dataclass(frozen=True)
class AttemptPlay:
    """An attempt, the run as it is in it, and the schedule that both are of."""

    schedule: FaultSchedule
    attempt: Attempt
    run: AttemptRun
    origin_s: float = 0.0
    """Second of the clock at which the run began."""
    truth: TruthLog | None = None
    """The writer of the ground truth; None in all processes but one, and without an output directory."""

    @classmethod
    def of(cls, plan: Plan, schedule: FaultSchedule, number: int) -> AttemptPlay | None:
        """Attempt ``number`` of a run; None if the job does not come to it."""
        attempt = schedule.attempt(number)
        if attempt is None:
            return None
        earlier = [each for before in range(number) if (each := schedule.attempt(before)) is not None]
        return cls(schedule, attempt, AttemptRun.of_attempt(plan, attempt, earlier))

    def begin_again(self, session: Session) -> None:
        """Let the time pass until the processes of the attempt start; a process of a launcher starts there."""
        start_s = self.run.startup.total + self.run.start_s
        if session.coordination:
            session.clock.jump_to(self.origin_s + start_s)
        else:
            session.clock.advance_to(self.origin_s + start_s)

    def in_message(self, message: StartMessage) -> StartMessage:
        """The message that starts the other processes of the job, with the attempt to play."""
        resumption = message.resumption
        if resumption and resumption.ended:
            resumption = replace(resumption, ended=replace(resumption.ended, ledger={}, history={}))
        number, restarts = self.attempt.number, self.schedule.restarts
        asked = self.schedule.asked_words
        return replace(message, resumption=resumption, attempt=number, restarts=restarts, asked=asked)

    def progress_type(self, session: Session) -> type[TrainingProgress]:
        """The progress of the attempt: ranks of a job that takes faults while it runs meet after each step."""
        return AgreeingProgress if session.coordination and self.takes_faults(session) else TrainingProgress

    def takes_faults(self, session: Session) -> bool:
        """True if faults can be asked for: in one process always, in a job if it waits for its clock."""
        return session.coordination is None or self.run.config.run.speed < math.inf

    def begin(self, session: Session, active: ActiveRun, resumption: Resumption | None) -> None:
        """Set a run that has just begun to where the attempt goes on, and expect its strikes."""
        progress = active.progress
        if self.attempt.number:
            progress.start_until(progress.training_origin_s + self.run.start_s + self.run.startup.total)
        if resumption and resumption.ended and session.is_main_process:
            active.checkpoints.go_on_after(resumption.ended)
        if self.truth:
            self.truth.begin_attempt(progress.training_origin_s)
            if resumption and resumption.ended:
                self.truth.recovered(self.attempt)
        session.runs.skew_clocks(self.skew(active))
        progress.expect(self.strikes(session, active, resumption))

    def skew(self, active: ActiveRun) -> Callable[[int], timedelta] | None:
        """The function that says by how much the clock of a rank's machine is ahead; None if all are right."""
        wrong = [
            (strike, ahead) for strike in (*self.attempt.carried, *self.attempt.occurrences)
            if (ahead := KINDS[strike.fault.kind].clock_s)
        ]  # fmt: skip
        if not wrong:
            return None
        per_node = self.run.layout.gpus_per_node

        def ahead_of(rank: int) -> timedelta:
            second, node = active.progress.elapsed_s, rank // per_node
            hit = [each for each in wrong if each[0].second <= second < each[0].end_s and node in each[0].hit.nodes]
            return timedelta(seconds=sum(ahead(strike, second) for strike, ahead in hit))

        return ahead_of

    def strikes(
        self, session: Session, active: ActiveRun, resumption: Resumption | None, past: int = 0
    ) -> list[Strike]:
        """The strikes that this process has before it, each with its place in the training; ``past`` are over."""
        done = resumption.state.step if resumption and not resumption.ended else self.attempt.first_step
        return [
            Strike(completed, place, partial(self._strike, session, active, strike))
            for strike in self.attempt.occurrences[past:]
            for completed, place in [_place(strike)]
            if strike.phase in START_PLACES or completed >= done
        ]

    def fail_store(self, session: Session, strike: Occurrence) -> None:
        """In all ranks of a job at once: let its store fail, if the strike is one of it."""
        if on_store := KINDS[strike.fault.kind].on_store:
            from accelerate_sim.session.faults.store_trouble import fail_store

            how, seconds = on_store(strike)
            speed = self.run.config.run.speed
            fail_store(session, how, seconds / speed)

    def _strike(self, session: Session, active: ActiveRun, strike: Occurrence) -> None:
        """Let a strike happen: its lines, its record in the ground truth, and the end of the attempt if it is one."""
        clock = session.clock
        second = active.progress.training_origin_s + strike.second
        if session.is_main_process:
            clock.advance_to(second)
        pids = session.coordination.pids if session.coordination else ()
        strike = replace(strike, moment=clock.start + timedelta(seconds=second), pids=pids)
        if self.truth:
            self.truth.begin(self.attempt, strike)
        ending, act = strike.ending, KINDS[strike.fault.kind].on_disk
        if act and session.is_main_process and session.outputs.directory:
            session.outputs.flush()
            with explained(session.outputs.directory, "A fault could not change the files that it is to change."):
                act(strike, session.outputs.directory, active.checkpoints.last)
        if session.coordination and ending is None:
            self.fail_store(session, strike)
        lines = lines_of(strike)
        output, late = LineOutput(session, clock.start, second), []
        if ending and session.coordination is None:
            lines += tracebacks_of(strike, calls_of_script())
        elif ending:  # a process that really raises an exception prints its own traceback
            late = [line for line in lines if line.after_s > LATE_S and line.stream in ("stdout", "stderr")]
        output.write([line for line in lines if line not in late] if late else lines)
        if ending is None:
            return
        following = self.attempt.saved[-1] if self.attempt.saved else 0
        if session.coordination:
            from accelerate_sim.session.faults.real_end import LateLines, end_really

            if self.truth and not self.attempt.goes_on:
                self.truth.finished()
            fail = partial(self.fail_store, session, strike)
            end_really(session, session.coordination, active, strike, following, LateLines(output, late), fail)
            return
        end = active.checkpoints.attempt_end(following, saves=ending.saves)
        if active.checkpoints.on_disk:
            active.checkpoints.keep_attempt_end(end)
        clock.advance_to(second + ending.after_s)
        raise Struck(end, self)


def _place(strike: Occurrence) -> tuple[int, str]:
    """Completed steps and place of a strike."""
    if strike.phase in START_PLACES:
        return 0, START_PLACES[strike.phase]
    return strike.step - 1, PLACES.get(strike.phase, "step")
