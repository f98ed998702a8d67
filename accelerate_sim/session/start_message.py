"""``StartMessage``: the message that rank 0 sends to the other ranks before each run, or instead of one at the end.

It is sent as JSON, because reading JSON executes nothing, also from an untrusted sender.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption


@dataclass(frozen=True, slots=True)
class StartMessage:
    """The run that begins next, and the simulated time at which it begins."""

    config: dict[str, Any] | None = None
    """The config as JSON; None: no run follows, and the ranks exit with ``exit_code``."""
    number: int = 1
    start: datetime = datetime.min
    """Start of the session's clock."""
    now_s: float = 0.0
    """Simulated second of the session's clock."""
    resumption: Resumption | None = None
    """The state that the run continues from; None: its first step."""
    is_last: bool = True
    """True if no other message follows unless the run fails."""
    exit_code: int = 0
    attempt: int | None = None
    """Number of the attempt of a run with faults, from 0; None for any other run."""
    restarts: int = 0
    """Restarts that the job may have in its life."""
    asked: tuple[str, ...] = ()
    """Words of the faults that the run was asked for in earlier attempts."""
    output_dir: str | None = None
    """The output directory as rank 0's command line names it; None: the run writes no files."""
    cwd: str = ""
    """The directory that a relative ``output_dir`` starts from, if the ranks write the truth of hazards there."""

    def json(self) -> bytes:
        """The whole message, with times and paths as strings."""
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def of(cls, text: bytes) -> StartMessage:
        """Read a message that ``json`` wrote. Raises ValueError."""
        fields = json.loads(text)
        fields["start"] = datetime.fromisoformat(fields["start"])
        fields["asked"] = tuple(fields["asked"])
        if fields["resumption"] is not None:
            fields["resumption"] = _resumption(fields["resumption"])
        return cls(**fields)


def _resumption(fields: dict[str, Any]) -> Resumption:
    from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.checkpoints.state import RunState

    if fields["ended"] is not None:
        fields["ended"] = SavedAttemptEnd(**fields["ended"])
    fields["state"] = RunState.of(fields["state"])
    fields["damaged"] = tuple(fields["damaged"])
    for name in ("output_dir", "checkpoint", "metrics_from"):
        if fields[name] is not None:
            fields[name] = Path(fields[name])
    return Resumption(**fields)
