"""``Loop``: one selector loop that moves the messages and the tasks of a process.

One thread polls for all (``driving``); messages are handled under a lock. While no thread waits, a thread of the loop
drives (``background``).
"""

from __future__ import annotations

import math
import time
from _thread import RLock
from typing import TYPE_CHECKING, Final

from fake_torch_dist import errors
from fake_torch_dist.core.task import Task
from fake_torch_dist.stores.lock import ownership
from fake_torch_dist.transports.background import Background
from fake_torch_dist.transports.driving import Driving
from fake_torch_dist.transports.lateness import failure_of
from fake_torch_dist.transports.mailbox import Mailbox
from fake_torch_dist.transports.waits import COLLECTIVE, Messages

if TYPE_CHECKING:
    from fake_torch_dist.transports.peers import Peers

_NEVER: Final = math.inf
_MOMENT_S: Final = 1e-3


class Loop:
    """Moves the tasks that have begun. ``peers`` are the connections to the other ranks."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self._tasks: list[Task] = []
        self.mailbox = Mailbox(peers)
        self._lock = RLock()
        """Held while tasks and messages are moved; not while the driver polls."""
        # Half the cost of ``with``; called first in ``try``, so no interrupt can come between the two.
        self._enter, self._exit = self._lock.acquire, self._lock.release
        self._is_inside = ownership(self._lock)
        self._driving = Driving(self._poll_again)
        self._background = Background(
            self._driving, lambda: self._turn(time.monotonic(), None), self._has_to_move, lambda: self._visits
        )
        self._visits = 0
        """A counter that grows when work begins, and when a frame that a signal handler interrupted has to poll
        again."""
        self._calls_back = False
        """True if a task has, or has had, callbacks."""
        self._polls_until = 0.0
        self._read_s = 0.0
        """When what had arrived was last taken in."""
        self._is_closed = False

    def read_if_idle(self) -> None:
        """Take in what has arrived, for a task that has just begun, unless another one did so a moment ago.

        A member that comes late finds here whether the others have given up.
        """
        if len(self._tasks) <= 1 and time.monotonic() - self._read_s > _MOMENT_S:
            self._take_in(self.peers.poll(0.0))

    def look(self) -> None:
        """Handle what has arrived, without waiting; no effect while another thread drives."""
        if self._is_inside():
            raise RuntimeError(errors.CALLED_INSIDE)
        if self._driving.take(False):
            try:
                self._turn(0.0, 0.0)
            finally:
                self._driving.leave()
                self._driving.pass_on()

    def flush(self, timeout_s: float) -> None:
        """Run the loop until everything sent is with the kernel."""
        until = time.monotonic() + timeout_s
        while self.peers.unsent and (now := time.monotonic()) < until:
            if self._driving.take(False):
                try:
                    self._turn(now, until)
                finally:
                    self._driving.leave()
                    self._driving.pass_on()
            else:
                time.sleep(0.001)

    def _turn(self, now: float, until: float | None) -> None:
        """Wait for messages until the next deadline, and continue every task that can.

        For the driver. Polling is outside of the lock: meanwhile other threads, and signal handlers, begin work.
        """
        visits = self._visits
        self._polls_until = _NEVER  # a thread that waits from now on, for a task not counted below, wakes this poll
        tasks = self._tasks
        alone = until is None and len(tasks) == 1
        self._polls_until = deadline = tasks[0].deadline if alone else self._next_deadline(until)
        try:
            events = self.peers.poll(deadline - now if deadline > now else 0.0)
        except (OSError, ValueError):
            if self._is_closed:
                return  # by a signal handler
            raise
        try:
            self._enter()
            if self._is_closed:
                return
            if self._visits != visits:
                events = self.peers.poll(0)  # a ready descriptor may have been closed and its number reused
            self._take_in(events)
            for task in self._tasks.copy():
                self._advance(task)
            finished = self._drop_done()
        finally:
            if self._is_inside():
                self._exit()
        if self._calls_back:
            call_back(finished)

    def _take_in(self, events: list[tuple[int, int]]) -> None:
        for group, number in self.mailbox.sort_in(events):
            self._expire(group, number)
        self._read_s = time.monotonic()

    def _driver_has_to_look(self, task: Task) -> bool:
        """True if the thread that polls has to be woken because another one waits for ``task`` from now on."""
        return self._background.drives or task.deadline < self._polls_until or self.peers.has_unread_ends

    def _poll_again(self) -> None:
        self._visits += 1
        self.peers.wake()

    def _has_to_move(self) -> bool:
        return not self._is_closed and any(task.moves for task in self._tasks)

    def _next_deadline(self, until: float | None) -> float:
        deadlines = [task.deadline for task in self._tasks]
        return min(deadlines if until is None else [*deadlines, until], default=0.0)

    def _drop_done(self) -> list[Task]:
        tasks = self._tasks
        if len(tasks) == 1:
            finished, rest = (tasks, []) if tasks[0].done else ([], tasks)
        else:
            finished, rest = [task for task in tasks if task.done], [task for task in tasks if not task.done]
        if finished:
            self._tasks = rest
            if self._driving.followers:
                self._driving.wake_finished()
        return finished

    def _advance(self, task: Task) -> None:
        while task.waiting is not None:
            payloads = task.waiting.ready(self.mailbox)
            if payloads is not None:
                task.step(payloads)
                if task.waiting is None:
                    return
                task.deadline = max(task.deadline, time.monotonic() + task.timeout_s)
                continue
            if not self.peers.gone and time.monotonic() < task.deadline:
                return
            error = failure_of(task, task.waiting.missing(), self.peers)
            if error is None:
                return
            task.step(None, error)

    def _expire(self, group: int, number: int) -> None:
        """End the wait of the task in this exchange now, as another member's timeout is over."""
        for task in self._tasks:
            waiting = task.waiting
            if (
                isinstance(waiting, Messages)
                and waiting.addresses
                and waiting.addresses[0][1:] == (group, COLLECTIVE, number)
            ):
                task.deadline = min(task.deadline, time.monotonic())


def call_back(finished: list[Task]) -> None:
    """Call the callbacks of these tasks, outside of the engine's lock, as they may begin work."""
    for task in finished:
        if task.callbacks:
            task.callbacks.call()
