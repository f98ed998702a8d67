"""Parts of a session for scripts without the command line: plain lines, no waits, no signal handlers.

In a notebook there are bars, too, and the lines that ranks log.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from accelerate_sim.display.cell_output import CELL_FRAME_S, CellCanvas, notebook_shell, replaced_stdout
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.placement import own_placement
from accelerate_sim.process.signals import Signals

if TYPE_CHECKING:
    from accelerate_sim.session.coordination import Coordination
    from accelerate_sim.session.log_handler import LoggingSession


class QuietParts(TypedDict):
    """Arguments of ``Session`` for scripts without the command line."""

    screen: Screen
    clock: Clock
    style: Style
    signals: Signals
    coordination: Coordination | None


def quiet_parts() -> QuietParts:
    """Make the parts: the screen is standard output, and ranks of a launched job have met if they have to."""
    if sys.stdout is not None:
        sys.stdout.flush()
    signals = Signals()
    coordination = _own_coordination()
    is_live = notebook_shell() is not None
    return {
        "screen": Screen(1, live=is_live, on_blocked=signals.end_if_told, replaced=replaced_stdout),
        "clock": Clock(datetime.now().replace(microsecond=0), wait=signals.wait),
        "style": Style(color=False, ascii=False),
        "signals": signals,
        "coordination": coordination,
    }


def show_in_cells(session: LoggingSession, flush: Callable[[], None]) -> None:
    """In a notebook: draw below the present cell, call ``flush`` after each, and print what ranks log."""
    if shell := notebook_shell():
        from accelerate_sim.session.log_handler import log_in_cells

        session.screen.use(CellCanvas(), CELL_FRAME_S)
        shell.events.register("post_run_cell", lambda _: flush())
        log_in_cells(session)


def _own_coordination() -> Coordination | None:
    """The link of this process to the other ones of its job; None if it runs all ranks."""
    placement = own_placement()
    if placement is None:
        return None
    from accelerate_sim.session.coordination import Coordination
    from accelerate_sim.session.discovered_layout import settled

    placement = settled(placement)
    if placement.num_played > 1:
        from fake_torch_dist.api.one_rank_a_process import refuse_several_ranks

        refuse_several_ranks(placement.process)
    return Coordination(placement)
