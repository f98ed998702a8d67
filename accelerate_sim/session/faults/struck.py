"""``Struck``: the exception with which a strike ends an attempt that one process plays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd


class Struck(BaseException):
    """A fault has ended the attempt. It is no Exception, so that a script cannot catch it by accident."""

    def __init__(self, end: SavedAttemptEnd, play: Any) -> None:
        super().__init__("a fault has ended the attempt")
        self.end = end
        self.play = play
        """The ``AttemptPlay`` of the attempt, with the faults that were added while it was played."""
