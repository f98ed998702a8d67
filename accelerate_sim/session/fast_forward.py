"""``--fast-forward``: the first part of a session, which is played without waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from accelerate_sim.records import Record, StepRecord

if TYPE_CHECKING:
    from accelerate_sim.process.clock import Clock
    from accelerate_sim.session.session import Session


class FastForward(NamedTuple):
    """The end of the part that is played without waits. One of the two fields is set."""

    step: int | None = None
    """The last step of the first run that belongs to it, from 1."""
    seconds: float | None = None
    """Simulated seconds since the start of the session."""

    @classmethod
    def of(cls, text: str) -> FastForward:
        """The part that a checked text names: ``step=500`` or ``time=7200.0``."""
        name, _, value = text.partition("=")
        return cls(step=int(value)) if name == "step" else cls(seconds=float(value))

    def begin(self, session: Session) -> None:
        """Let the clock of a session hurry up to the end of the part."""
        if self.step is None:
            session.clock.hurry_until(session.clock.now_s + (self.seconds or 0.0))
        else:
            session.clock.hurry(True)
            session.outputs.add_observer(_UntilStep(session.clock, self.step))


class _UntilStep:
    """An observer that lets the clock wait again from a step on."""

    def __init__(self, clock: Clock, step: int) -> None:
        self._clock, self._step = clock, step
        self._is_over = False

    def observe(self, record: Record) -> None:
        if not self._is_over and isinstance(record, StepRecord) and record.step >= self._step:
            self._is_over = True
            self._clock.hurry(False)

    def flush(self) -> None: ...
