"""Begin and end of the run of a user's own script, which hands in no config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.session.begin_run import begin_run, end_run
from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.session.active_run import ActiveRun


def begin_script_run(session: Session, config: RunConfig, project_dir: Path | None = None) -> ActiveRun:
    """Begin a run of ``config``. In a script, which knows of one rank, tensors of all ranks act as rank 0's."""
    from fake_torch_dist import LocalTensor

    active = begin_run(session, replace(session.planned_run(config), own_script=True), project_dir)
    LocalTensor.speak_for(0)
    return active


def end_any_run(session: Session) -> None:
    """End the active run, planned or of a script; tensors are as before it."""
    from fake_torch_dist import LocalTensor

    end_run(session)
    LocalTensor.speak_for(None)
