"""``Driving``: the choice of the thread that polls for all threads of a process; the others wait.

One thread at a time, the driver, polls the connections and lets every task go on; a thread that has to wait while
another drives is a follower. It sleeps on a lock of its own until its task is done or the driver leaves; the driver
that leaves wakes the newest follower, which drives next. The newest is chosen because an older one may be a frame that
a signal handler has interrupted, in whose thread the newer one waits. A signal handler may drive while the frame that
it interrupts is in ``poll``: the role is reentrant.

``_thread`` is used because importing ``threading`` adds work to every fork.
"""

from __future__ import annotations

import time
from _thread import RLock, allocate_lock
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from fake_torch_dist.stores.lock import ownership

if TYPE_CHECKING:
    from _thread import LockType

    from fake_torch_dist.core.task import Task

LONGEST_SLEEP_S: Final = 3600.0
"""The longest single wait, as locks and epoll take limited time-outs; a longer wait is repeated."""


class Driving:
    """The role of the thread that polls. ``wake`` ends the poll of another thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        role = RLock()
        self.take = role.acquire
        """``take(False)``: become the driver unless another thread is; True if this thread is now."""
        self.give_back = role.release
        self.is_mine = ownership(role)
        self._wake = wake
        self.followers: list[tuple[Task, LockType]] = []
        """Tasks that threads wait for while another thread drives, each with the lock that its thread sleeps on."""

    def leave(self) -> None:
        """Give the role back; the frame that a signal handler interrupted polls again."""
        self.give_back()
        if self.is_mine():
            self._wake()

    def take_over(self) -> None:
        """Become the driver once the thread that is has left. It is woken, and has to have a reason to leave."""
        while not self.take(False):
            self._wake()
            if self.take(timeout=0.05):
                return

    def pass_on(self) -> None:
        """Wake a follower, if there is one: it drives unless another thread does."""
        if self.followers:
            with suppress(IndexError):  # the follower has left
                _release(self.followers[-1][1])

    def wake_finished(self) -> None:
        """Wake the followers whose tasks are done."""
        for task, lock in list(self.followers):
            if task.done:
                _release(lock)

    def follow(self, task: Task, until: float | None, look: Callable[[], bool]) -> None:
        """Sleep until ``task`` is done, ``until`` is over or the driver has left.

        ``look`` is called once this follower is in the list; it returns True if the driver has to be woken.
        """
        lock = allocate_lock()
        lock.acquire()
        follower = (task, lock)
        self.followers.append(follower)
        try:
            if self.take(False):  # the driver left before this follower was in the list
                self.leave()
            elif not task.done:
                if look():
                    self._wake()
                rest_s = LONGEST_SLEEP_S if until is None else until - time.monotonic()
                lock.acquire(timeout=min(max(0.0, rest_s), LONGEST_SLEEP_S))
        finally:
            self.followers.remove(follower)


def _release(lock: LockType) -> None:
    with suppress(RuntimeError):  # it is released already
        lock.release()
