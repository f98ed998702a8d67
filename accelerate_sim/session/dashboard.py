"""Connects the dashboard to a session: its screen, its records and its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from accelerate_sim.dashboard.canvas import DashboardCanvas, DashboardState
from accelerate_sim.dashboard.history import History
from accelerate_sim.dashboard.panels import View
from accelerate_sim.display.summary import summary_table

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

FRAME_S, LARGE_FRAME_S = 0.5, 1.0
"""Shortest time between two frames of the dashboard, in real seconds; the second is that of a large screen."""
PATIENCE_S = 3.0
"""``Session.patience_s`` of a dashboard: until its last frame is written, the terminal shows the alternate screen."""
LARGE_CELLS = 6000
"""Columns times rows above which a screen is large."""


def open_dashboard(session: Session, before: DashboardState | None = None) -> DashboardCanvas:
    """Draw the session on the whole screen from now on. ``before`` is what the screen shows of earlier runs."""
    history = deepcopy(before.history) if before else History()
    session.outputs.add_observer(history)
    canvas = DashboardCanvas(
        history,
        session.style,
        session.screen.canvas.size,
        _view_of(session, before.view if before else None),
        _summary_of(session, history),
        session.screen.named,
    )
    if before:
        canvas.go_on(before)
    columns, rows = canvas.size()
    session.fill_screen(canvas, LARGE_FRAME_S if columns * rows > LARGE_CELLS else FRAME_S, PATIENCE_S)
    return canvas


def canvas_of(session: Session) -> DashboardCanvas | None:
    """The dashboard of a session; None if it has none."""
    canvas = session.screen.canvas
    return canvas if isinstance(canvas, DashboardCanvas) else None


def _view_of(session: Session, latest: View | None) -> Callable[[], View | None]:
    def view() -> View | None:
        """The run now; between two attempts or runs the latest moment of the one before."""
        nonlocal latest
        active = session.active
        if active is None:
            return latest
        latest = View(active.run, active.look(), session.clock.time(), active.progress.completed_steps)
        return latest

    return view


def _summary_of(session: Session, history: History) -> Callable[[int], Sequence[str]]:
    """The summary of the latest run, or of what has been played of it."""

    def summary(width: int) -> Sequence[str]:
        record = history.summary
        if record is None and session.active and session.active.ledger.last_step:
            record = session.active.ledger.summary()
        return summary_table(session.console.renamed(record), width, session.style) if record else ()

    return summary
