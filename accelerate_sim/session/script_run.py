"""Begins the run of a user's own script, which gives no config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.own_script.settings import script_config
from accelerate_sim.session.begin_run import begin_run
from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.session.active_run import ActiveRun


def begin_script_run(session: Session, precision: str, num_steps: int, project_dir: Path | None = None) -> ActiveRun:
    """Begin a run in ``precision`` with ``num_steps`` micro-batches a step. Raises ConfigError.

    A script is written for one rank, so tensors of all ranks act as rank 0's.
    """
    from fake_torch_dist import LocalTensor

    planned = session.runs.planned(script_config(session.placement, precision, num_steps))
    active = begin_run(session, replace(planned, own_script=True), project_dir)
    LocalTensor.act_as_rank(0)
    return active
