"""``Cue``: what rank 0 tells the other ranks before a run, and its form as JSON, in which it is sent.

It is JSON because reading it can execute nothing, whoever has written it.
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
class Cue:
    """What rank 0 tells the others before a run."""

    config: dict[str, Any] | None = None
    """As JSON; None: there is no run, and ``exit_code`` is all there is to say."""
    number: int = 1
    start: datetime = datetime.min
    """Of the session's clock."""
    now_s: float = 0.0
    resumption: Resumption | None = None
    """What the run goes on with."""
    is_last: bool = True
    exit_code: int = 0

    def json(self) -> bytes:
        """The whole cue, times and paths as strings."""
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def of(cls, text: bytes) -> Cue:
        """Read back what ``json`` wrote."""
        fields = json.loads(text)
        fields["start"] = datetime.fromisoformat(fields["start"])
        if fields["resumption"] is not None:
            fields["resumption"] = _resumption(fields["resumption"])
        return cls(**fields)


def _resumption(fields: dict[str, Any]) -> Resumption:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.checkpoints.state import RunState

    fields["state"] = RunState.of(fields["state"])
    fields["damaged"] = tuple(fields["damaged"])
    for name in ("output_dir", "checkpoint", "metrics_from"):
        if fields[name] is not None:
            fields[name] = Path(fields[name])
    return Resumption(**fields)
