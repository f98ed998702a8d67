"""The launcher's lines and report in a session of one process, worded by the launcher's own code."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

from accelerate_sim.faults.consequences import HangEnd
from accelerate_sim.session.faults.line_output import LineOutput
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog
from fake_torch_dist.launcher.reports.report import (
    child_failed_text,
    error_text,
    gone_for_good,
    signalled_text,
    too_few_nodes,
)

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Attempt, Occurrence
    from accelerate_sim.session.session import Session

MOST_RANKS = 64
"""Ranks in a report; in larger jobs each node's launcher reports its own, and that of the root cause is shown."""
SIGTERM = 15


def report_end(session: Session, attempt: Attempt) -> None:
    """Print the launcher's lines about the ranks of an attempt that a strike has ended."""
    output = LineOutput(session, session.clock.start, session.clock.now_s)
    for text in end_texts(attempt, session.clock.time(), sys.argv[0]):
        output.write_text(text)


def end_texts(attempt: Attempt, moment: datetime, program: str) -> list[str]:
    """The launcher's texts about the ranks of an attempt that a strike has ended, each of one or more lines.

    The last is its report, if the job does not go on. ``program`` is the launcher's script.
    """
    moment_s, strike = moment.timestamp(), attempt.ended_by
    assert strike and strike.ending
    ending = strike.ending
    if ending.job_signal:
        return [signalled_text(strike.pid(-1), ending.job_signal).rstrip("\n")]
    failures = _failures(strike, moment_s)
    texts: list[str] = []
    log = LauncherLog(lambda text: texts.append(text.rstrip("\n")), now=lambda: moment_s, pid=strike.pid(-1))
    for failure in failures:
        if failure.told_to_stop:
            log.emit(log_messages.SENDING_SIGNAL, pid=failure.pid, signal="SIGTERM")
    root = root_cause(failures)
    log.emit(
        log_messages.FAILED, exitcode=root.exitcode, local_rank=root.local_rank, pid=root.pid, binary=sys.executable
    )
    if not attempt.goes_on:
        texts.append(child_failed_text(program, failures).rstrip("\n"))
        if ending.nodes_gone and not ending.restarts:
            texts.append(error_text(_too_few(attempt, strike)).rstrip("\n"))
    return texts


def _too_few(attempt: Attempt, strike: Occurrence) -> str:
    """The launcher's reason, as nodes do not come back."""
    layout = strike.run.layout
    assert strike.ending
    gone = strike.ending.nodes_gone
    lost = gone_for_good([strike.host(node * layout.gpus_per_node) for node in gone])
    return too_few_nodes(lost, layout.nodes - len(gone), layout.nodes) if attempt.restarts_left else lost


def _failures(strike: Occurrence, moment_s: float) -> list[ProcessFailure]:
    """The failure of each rank in the order of ranks; those that no strike hit have got the launcher's signal."""
    ending, layout = strike.ending, strike.run.layout
    assert ending
    deaths = {death.rank: death for death in ending.deaths}
    ranks: list[int] = list(range(layout.world_size))
    if layout.world_size > MOST_RANKS:
        first = ending.deaths[0].rank // layout.gpus_per_node * layout.gpus_per_node
        ranks = list(range(first, first + layout.gpus_per_node))
    found = []
    for rank in ranks:
        death = deaths.get(rank)
        by_itself = death is not None and not isinstance(death.how, HangEnd)
        found.append(
            ProcessFailure.observed(
                local_rank=rank % layout.gpus_per_node, rank=rank, node=strike.host(rank), pid=strike.pid(rank),
                exitcode=death.exitcode if death else -SIGTERM,
                observed_s=moment_s + (death.after_s - ending.after_s if death and by_itself else 0.0),
                error_file=None, told_to_stop=not by_itself,
            )
        )  # fmt: skip
    return found
