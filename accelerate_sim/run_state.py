"""Where a run stands between two steps: all that a new process needs to go on as if it were the old one.

The figures of a run are pure functions of its config, so this is little: which step, what the simulated clock says, how
long metrics.jsonl is, and the sums that the summary is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from accelerate_sim.artifacts.file_image import FileImage, json_image
from accelerate_sim.artifacts.manifest import Damaged

NAME = "run_state.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """After ``step`` steps with their validations, before their checkpoint is reported."""

    run: int
    """Number of the run in its session."""
    step: int
    config: Mapping[str, Any]
    start_time: str
    """What the simulated clock counts from."""
    origin_s: float
    """Simulated second at which the run began."""
    clock_s: float
    metrics_bytes: int
    """Length of metrics.jsonl."""
    planned: bool = True
    """False for a checkpoint that was made because the process was told to end; it costs no simulated time."""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    saved: tuple[tuple[str, float | None], ...] = ()
    """Checkpoints that are kept: name and validation loss."""

    def image(self) -> FileImage:
        """As a file."""
        return json_image(NAME, {"simulated": True, **asdict(self)})

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RunState:
        """Read back; raises :class:`Damaged` when something is missing or of another kind."""
        try:
            kinds = {name: document[name] for name in cls.__slots__}
            whole = all(type(kinds[name]) is int and kinds[name] >= 0 for name in ("run", "step", "metrics_bytes"))
            real = all(isinstance(kinds[name], int | float) for name in ("origin_s", "clock_s"))
            mappings = all(isinstance(kinds[name], dict) for name in ("config", "ledger"))
            if not (whole and real and mappings and isinstance(kinds["start_time"], str)):
                raise ValueError
            kinds["saved"] = tuple((str(name), loss) for name, loss in kinds["saved"])
        except (KeyError, TypeError, ValueError):
            raise Damaged(f"has a {NAME} that is not of this program") from None
        return cls(**kinds)
