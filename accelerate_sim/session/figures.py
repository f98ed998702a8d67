"""Figures that a training script logs, as records of the active run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate_sim.reporting.build import eval_record, step_record
from accelerate_sim.reporting.rank_details import rank_step_records

if TYPE_CHECKING:
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.session.session import Session


def report_figures(session: Session, active: ActiveRun, values: Mapping[str, Any], step: int) -> None:
    """Report the figures of a step, or with ``eval_loss`` among them of a validation, to all observers."""
    run, monitor, console, sums_up = active.run, active.monitor, session.console, session.sums_up
    if "eval_loss" in values:
        if sums_up:
            session.report(eval_record(run, values, step, active.ledger.best_loss))
        return
    end_s = run.timing(step - 1).end_s
    if console.detail_ranks and step % run.config.log.every == 0:
        for record in rank_step_records(run, step, session.clock.time(), console.detail_ranks):
            session.report(record)
    if sums_up:
        memory = monitor.memory_used_bytes(step)
        session.report(step_record(run, values, step, session.clock.time(), memory))
    if session.is_main_process:
        monitor.after_step(step, end_s)
    else:
        monitor.warn(step, end_s)
