"""The commands of ``fake-torchrun ctl``, carried out in the session that they are sent to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session


class RefusedCommand(Exception):
    """A command cannot be carried out; the message says why, and what can."""


def answer(session: Session, command: str, value: str) -> dict[str, Any]:
    """Carry out a command. Raises ``RefusedCommand``."""
    match command:
        case "state":
            return {"state": _state(session)}
        case "pause":
            session.signals.hold()
            return {"text": f"paused: {session.runs.where()}"}
        case "resume":
            session.signals.release()
            return {"text": "goes on"}
        case "speed":
            session.clock.steer(override=_speed(value))
            session.signals.cut()
            return {"text": f"speed {value}"}
        case "fault":
            return {"text": _fault(session, value)}
    raise RefusedCommand(f"{command!a} is no command. Use list, fault, pause, resume or speed.")


def _state(session: Session) -> dict[str, Any]:
    active, clock = session.active, session.clock
    return {
        "model": active.run.model.name if active else "",
        "step": active.progress.completed_steps if active else 0,
        "steps": active.run.last_step if active else 0,
        "ranks": session.world_size,
        "speed": "max" if math.isinf(clock.speed) else f"{clock.speed:g}",
        "paused": session.signals.is_held,
        "faults": session.runs.live_faults.ahead() if session.runs.live_faults else [],
    }


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0.0:
        raise RefusedCommand(f"speed {text!a} is no speed. Use simulated seconds per real second, such as 60, or max.")
    return speed


def _fault(session: Session, words: str) -> str:
    if session.active is None:
        raise RefusedCommand("no run is active. Ask again when one has begun.")
    faults = session.runs.live_faults
    if faults is None:
        run = session.active.run
        if session.coordination and run.fault_facts and run.config.run.speed == math.inf:
            raise RefusedCommand("a launched run at speed max takes no faults. Start it with --speed and a number.")
        raise RefusedCommand("this run plays no faults. Start it with --set faults.drawn=play, or with a --fault.")
    from accelerate_sim.faults.mistake import FaultMistake

    try:
        return faults.ask(words)
    except FaultMistake as mistake:
        raise RefusedCommand(str(mistake)) from None
