"""The failure of a collective that waits: a peer is gone, or its timeout is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from fake_torch_dist import errors
from fake_torch_dist.core.task import Task
from fake_torch_dist.core.transport import ANY_SOURCE

if TYPE_CHECKING:
    from fake_torch_dist.transports.peers import Peers

GRACE_S: Final = 0.8
"""Seconds after a peer's death or a timeout in which a result already on its way may arrive."""


def failure_of(task: Task, missing: list[int], peers: Peers) -> errors.DistError | None:
    """The error of a task that waits for ``missing`` ranks: PeerGoneError, TimedOutError, or None while it may still
    succeed.

    Changes the task's deadline, at which this is called again.
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
    task.deadline = now + GRACE_S  # for the request to the leader and its answer
    late = [rank for rank in task.members if rank != peers.rank] if missing == [ANY_SOURCE] else missing
    return errors.TimedOutError(late, task.timeout_s)
