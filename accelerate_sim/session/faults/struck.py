"""``Struck``: the exception with which a strike ends an attempt that one process plays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.attempt_file import AttemptEnd


class Struck(BaseException):
    """A fault has ended the attempt. It is no Exception, so that a script cannot catch it by accident."""

    def __init__(self, end: AttemptEnd) -> None:
        super().__init__("a fault has ended the attempt")
        self.end = end
