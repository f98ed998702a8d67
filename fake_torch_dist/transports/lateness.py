"""When a collective that waits has to fail: a peer is gone, or its time is up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from fake_torch_dist import errors
from fake_torch_dist.core.task import Task
from fake_torch_dist.core.transport import ANY_SOURCE

if TYPE_CHECKING:
    from fake_torch_dist.transports.peers import Peers

GRACE_S: Final = 0.8
"""After a member has died, or time is up, how long a group may still hear how its collective ended."""


def failure_of(task: Task, missing: list[int], peers: Peers) -> errors.DistError | None:
    """The error of a task that waits for ``missing`` ranks: that a peer is gone, or that time is up; None before.

    Moves the task's deadline, so that it is asked again.
    """
    now = time.monotonic()
    gone = peers.gone
    if gone:
        others = [rank for rank in gone if rank in task.members]
        if missing == [ANY_SOURCE]:
            needed = others if len(others) == len(task.members) - 1 else []
        else:
            needed = [rank for rank in missing if rank in gone]
            if others:
                # It may have died after its part was done, with the result still on its way to us.
                task.deadline = min(task.deadline, now + GRACE_S)
        if needed or (others and now >= task.deadline):
            task.deadline = now + GRACE_S
            return errors.PeerGoneError(needed or others)
    if now < task.deadline:
        return None
    task.deadline = now + GRACE_S  # to ask, and to tell
    late = [rank for rank in task.members if rank != peers.rank] if missing == [ANY_SOURCE] else missing
    return errors.TimedOutError(late, task.timeout_s)
