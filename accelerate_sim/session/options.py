"""``SessionOptions``: the settings of a session that are not part of a run's config."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.session.coordination import Coordination
    from accelerate_sim.session.fast_forward import FastForward
    from accelerate_sim.session.recorded_terminal import RecordedTerminal


@dataclass(frozen=True)
class SessionOptions:
    """The settings of a session, from the command line."""

    start_time: datetime | None = None
    """Start of the simulated clock; None: now."""
    duration_s: float | None = None
    """Real seconds after which the session ends; None: when its runs are over."""
    output_dir: Path | None = None
    resumption: Resumption | None = None
    """The state that the first run continues from."""
    ascii_only: bool = False
    progress: bool = True
    """Show bars."""
    coordination: Coordination | None = None
    """Link of rank 0 to the other processes of the job; None: this process runs all ranks."""
    recording: RecordedTerminal | None = None
    """The recorded terminal that takes the place of standard output."""
    report: Path | None = None
    """The page to write when the session ends."""
    fast_forward: FastForward | None = None
    """The first part of the session, which is played without waits."""
    prompt: str | None = None
    """The command line that is typed on the screen before the first line; None: nothing is typed."""
    explain: bool = False
    """Log the reason after key messages."""
    generic_names: bool = False
    """Show no name of a real model, company or product."""
    dashboard: bool = False
    """Draw the run on the whole screen."""
    keys: bool = True
    """Read keys that steer the session, where standard input is a terminal."""
