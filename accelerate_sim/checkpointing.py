"""Training states: how big they are and how long they take to write.

What it does not do yet: put them on a disk.
"""

from __future__ import annotations

from pathlib import Path

from accelerate_sim.display.units import bytes_text
from accelerate_sim.logging import get_logger
from accelerate_sim.records import CheckpointRecord
from accelerate_sim.session import Session
from accelerate_sim.sim.memory import OPTIMIZER_BYTES, WEIGHT_BYTES
from accelerate_sim.sim.run import Run

logger = get_logger(__name__)


def save_state(run: Run, session: Session, path: Path, step: int) -> None:
    """Save the state after ``step`` steps to ``path``: weights in bf16, fp32 master weights and Adam's moments."""
    parameters = run.model.architecture.parameters
    logger.info(
        "Saving checkpoint %s | weights %s + optimizer %s",
        path, bytes_text(WEIGHT_BYTES * parameters), bytes_text(OPTIMIZER_BYTES * parameters),
    )  # fmt: skip
    seconds = run.checkpoint_seconds(step - 1)
    session.clock.advance(seconds)
    session.report(CheckpointRecord(run.number, step, str(path), run.checkpoint_bytes, seconds))
