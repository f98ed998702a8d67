"""``Steering``: pauses, single steps and changes of speed of a session, for keys, signals and other controls.

Its messages are notes on the bar line, which never become a part of the scrollback.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from accelerate_sim.process.signals import Stopped
from accelerate_sim.records import Record, StepRecord

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

NOTE_S = 2.0
"""Real seconds for which a note is shown."""
FIRST_SPEED = 250.0
"""Speed that a run without waits gets when it is slowed down, in simulated seconds per real second."""
MOST, LEAST = 2.0**20, 2.0**-20
"""Bounds of the factor of the speed."""


class Steering:
    """The controls of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._signals, self._clock = session.signals, session.clock
        self._single = False
        """True until the step that was asked for is complete."""
        self._question = ""
        session.signals.listeners.add(on_hold=self._show, on_release=self._show)

    def pause(self) -> None:
        """Let the simulated clock stand."""
        self._signals.hold()

    def resume(self) -> None:
        """Let the simulated clock go on."""
        self._signals.release()

    def toggle(self) -> None:
        """Pause, or resume."""
        self._signals.toggle()

    def one_step(self) -> None:
        """Play at once up to the end of the next step, and pause there."""
        self._single = True
        self._clock.hurry(True)
        self._signals.cut()
        self._signals.release()

    def observe(self, record: Record) -> None:
        """Pause after the step that was asked for."""
        if self._single and isinstance(record, StepRecord):
            self._single = False
            self._clock.hurry(False)
            self._signals.hold()

    def flush(self) -> None: ...

    def multiply(self, factor: float) -> None:
        """Change the speed by this factor."""
        clock = self._clock
        if clock.speed < math.inf:
            self._steer(min(MOST, max(LEAST, clock.factor * factor)), clock.override)
        elif factor < 1.0:
            self.set_speed(FIRST_SPEED)
        else:
            self.say(self._speed_text())

    def normal_speed(self) -> None:
        """Go back to the speed of the config."""
        self._steer(1.0, None)

    def set_speed(self, speed: float) -> None:
        """Run at this number of simulated seconds per real second; infinity: without waits."""
        self._steer(1.0, speed)

    def _steer(self, factor: float, override: float | None) -> None:
        self._clock.steer(factor=factor, override=override)
        self._signals.cut()
        self.say(self._speed_text())

    def end(self) -> None:
        """End the session as at the end of its time. Raises ``Stopped``."""
        raise Stopped("ended", 0)

    def say(self, text: str) -> None:
        """Show ``text`` on the bar line for NOTE_S."""
        self._draw(text)
        self._signals.call_in(NOTE_S, self._show)

    def ask(self, question: str) -> None:
        """Show what is being typed in place of other notes, until it is empty."""
        self._question = question
        self._show()

    def _speed_text(self) -> str:
        speed = self._clock.speed
        return f"[speed {'max' if speed == math.inf else f'{speed:,.4g}'}]"

    def _show(self) -> None:
        self._signals.call_at(None, self._show)
        self._draw(self._question or ("[paused]" if self._signals.is_held else ""))

    def _draw(self, note: str) -> None:
        screen = self._session.screen
        if screen.live:
            screen.note(note)
            screen.flush()
