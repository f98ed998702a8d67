"""``ailment``: the answer to a liveness probe, which asks the exporter of a process whether the training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate_sim.session.rank_waits import STALLED_S

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session


def ailment(session: Session) -> str | None:
    """The reason why the training makes no progress now; None if it does, and between two runs."""
    active = session.active
    if active is None:
        return "the job has ended and is not started again yet" if session.runs.read_idle_gpus else None
    progress, waits = active.progress, session.rank_waits
    now_s = waits.reached_s if waits else session.clock.reached_s()
    if active.run.is_halted(now_s - progress.training_origin_s):
        return f"no progress after step {progress.completed_steps}: the job has stopped"
    # After the last step rank 0 exports the model, as long as that takes.
    if waits and waits.late_s > STALLED_S and progress.completed_steps < active.run.last_step:
        return f"no progress after step {progress.completed_steps}: other ranks are {waits.late_s:.0f} s late"
    return None
