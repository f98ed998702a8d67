"""``LiveFaults``: faults that are asked for while an attempt is played, and the agreement of all ranks on them.

Rank 0 of a job is asked, since it has the control socket and the terminal. Between steps, twice in a real second, it
sends what it was asked for to the other ranks; so a fault strikes from the step on that follows the next agreement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from accelerate_sim.faults.asked import asked_fault
from accelerate_sim.faults.language import parse, render
from accelerate_sim.faults.mistake import FaultMistake
from accelerate_sim.faults.planned import check_fault
from accelerate_sim.session.faults.agreement import AgreeingProgress

if TYPE_CHECKING:
    from accelerate_sim.faults.fault import Fault
    from accelerate_sim.faults.occurrence import Occurrence
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.session.faults.attempt_play import AttemptPlay
    from accelerate_sim.session.session import Session


class LiveFaults:
    """The faults of one attempt that can become more while it is played."""

    def __init__(self, session: Session, active: ActiveRun, play: AttemptPlay) -> None:
        self._session, self._active, self._play = session, active, play
        self._to_send: list[str] = []
        self._speed = active.run.config.run.speed
        """Speed of rank 0's clock at the latest agreement."""
        if isinstance(active.progress, AgreeingProgress):
            active.progress.agree_by(self.agree)

    def ask(self, words: str) -> str:
        """Let one more fault strike. Returns a sentence about it. Raises FaultMistake."""
        play, step = self._play, self._next_step()
        fault = asked_fault(words, step, play.attempt.number, play.schedule.faults)
        check_fault(fault, play.run, play.schedule.faults)
        self._take(fault, step)
        if self._session.coordination:
            self._to_send.append(render(fault))
        self._remember()
        struck = next((strike for strike in self._ahead() if strike.fault.id == fault.id), None)
        return f"{fault.id} strikes in step {struck.step:,}" if struck else f"{fault.id} does not come in this attempt"

    def ahead(self) -> list[str]:
        """The faults that were asked for and have yet to strike in this attempt, each with its step."""
        asked = {fault.id for fault in self._play.schedule.asked_faults}
        return [f"{strike.fault.id} in step {strike.step:,}" for strike in self._ahead() if strike.fault.id in asked]

    def agree(self) -> float:
        """In all ranks at once: take the faults that rank 0 was asked for since the last time. Returns its speed."""
        session = self._session
        assert session.coordination
        message = b""
        if session.is_main_process and (self._to_send or session.clock.speed != self._speed):
            self._speed = session.clock.speed
            message = json.dumps({"faults": self._to_send, "speed": self._speed}).encode()
            self._to_send = []
        with session.signals.at_once():
            told = session.coordination.tell(message)
        if told and not session.is_main_process:
            news = json.loads(told)
            self._speed = news["speed"]
            for words in news["faults"]:
                self._take(parse(words), self._active.progress.completed_steps + 1)
        return self._speed

    def _next_step(self) -> int:
        """The first step in which all ranks can let a fault strike."""
        progress = self._active.progress
        return (progress.due if isinstance(progress, AgreeingProgress) else progress.completed_steps) + 1

    def _ahead(self) -> tuple[Occurrence, ...]:
        strikes = self._play.attempt.occurrences
        return strikes[len(strikes) - self._active.progress.strikes_ahead :]

    def _take(self, fault: Fault, step: int) -> None:
        """Play on with one more fault, from ``step`` on. Raises FaultMistake if it would have struck before."""
        play, progress = self._play, self._active.progress
        schedule = play.schedule.with_fault(fault)
        attempt = schedule.attempt(play.attempt.number)
        assert attempt is not None
        done = len(play.attempt.occurrences) - progress.strikes_ahead
        past, ahead = attempt.occurrences[:done], attempt.occurrences[done:]
        too_early = any(strike.fault.id == fault.id and strike.step < step for strike in ahead)
        if too_early or _names(past) != _names(play.attempt.occurrences[:done]):
            raise FaultMistake(f"{fault.id} would strike in the past", f"Use at=now, or a step from {step} on.")
        earlier = [each for before in range(attempt.number) if (each := schedule.attempt(before)) is not None]
        play.run.take_over(attempt, earlier)
        self._session.outputs.begin_attempt(attempt.number)
        self._play = play = replace(play, schedule=schedule, attempt=attempt)
        self._session.runs.skew_clocks(play.skew(self._active))
        progress.expect(play.strikes(self._session, self._active, self._active.resumption, done))

    def _remember(self) -> None:
        """Write the faults where the next attempt, or a process that resumes the run, finds them."""
        if self._play.truth:
            self._play.truth.planned(self._play.schedule)
        elif self._session.coordination:
            from accelerate_sim.session.faults.launcher_store import keep_asked

            keep_asked(self._active.run.number, self._play.schedule.asked_words)


def _names(strikes: Iterable[Occurrence]) -> list[tuple[str, int]]:
    return [(strike.fault.id, strike.number) for strike in strikes]
