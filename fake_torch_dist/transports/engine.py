"""The progress engine: one selector loop that moves messages, and the collectives that wait for them.

A collective is a coroutine that awaits messages. A thread that waits for one collective continues all others of this
process, too, so several may be in flight, in any order, on any number of groups. Any number of threads may begin and
wait: one of them polls for all (``driving``), and messages are handled under a lock.

Asynchronous work goes on while its process computes: if no thread waits, a thread of the engine drives
(``background``).

A signal handler may begin work and wait for it, wherever it interrupts its thread except inside of the lock, where
messages are in an intermediate state; a call there raises RuntimeError.

Order, as in MPI: the collectives of a group match in the order in which each member begins them, asynchronous or not.
They may end in any order; their arrays belong to them until then. A barrier of a group ends after all collectives of
the group that any member began before it. Messages of one sender, receiver, group and tag are received in the order in
which they were sent, and by the receives in the order in which those were begun. Nothing else is ordered: neither
collectives of different groups nor messages and collectives.
"""

from __future__ import annotations

import math
import time
from _thread import RLock
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from fake_torch_dist import errors
from fake_torch_dist.core.task import Callbacks, Receipt, Task
from fake_torch_dist.core.transport import ANY_SOURCE
from fake_torch_dist.transports.background import Background
from fake_torch_dist.transports.driving import Driving
from fake_torch_dist.transports.lateness import failure_of
from fake_torch_dist.transports.waits import COLLECTIVE, OVERDUE, Address, Messages

if TYPE_CHECKING:
    from fake_torch_dist.transports.peers import Peers
    from fake_torch_dist.transports.wire import Payload

_NEVER: Final = math.inf
_MOMENT_S: Final = 1e-3


class Engine:
    """Moves tasks and messages of one process. ``peers`` are the connections to the other ranks."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self._tasks: list[Task] = []
        self._mail: defaultdict[Address, deque[Payload]] = defaultdict(deque)
        self._lock = RLock()
        """Held while tasks and messages are moved; not while the driver polls."""
        # Half the cost of ``with``; called first in ``try``, so no interrupt can come between the two.
        self._enter, self._exit = self._lock.acquire, self._lock.release
        self._is_inside = self._lock._is_owned  # type: ignore[attr-defined]
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

    # -- for collectives -----------------------------------------------------------------------------------------------

    def send(
        self, to: int, group: int, channel: int, number: int, payload: Payload, tail: memoryview | None = None
    ) -> None:
        """Send a message, ``payload`` and ``tail``; what the kernel does not accept is queued for the loop."""
        self.peers.send(to, group, channel, number, payload, tail)

    def post(
        self, to: int, group: int, channel: int, number: int, payload: Payload, tail: memoryview | None = None
    ) -> bool:
        """As ``send``, for a caller outside of a task; True as ``is_written`` after it."""
        if self._is_inside():
            raise RuntimeError(errors.CALLED_INSIDE)
        try:
            self._enter()
            if self._is_closed:
                raise errors.DistBackendError(errors.GROUP_ENDED)
            self._visits += 1
            self.peers.send(to, group, channel, number, payload, tail)
            return self.is_written(to)
        finally:
            if self._is_inside():
                self._exit()

    def take(self, address: Address) -> Any:
        """The oldest message for an address, or None; for ANY_SOURCE (source, message) of the first that fits."""
        if address[0] == ANY_SOURCE:
            fitting = (held for held, mail in self._mail.items() if mail and held[1:] == address[1:])
            held = next(fitting, None)
            return None if held is None else (held.source, self.take(held))
        mail = self._mail.get(address)
        if not mail:
            return None
        payload = mail.popleft()
        if not mail:
            del self._mail[address]
        return payload

    def arrived(self) -> Iterable[Address]:
        """The addresses for which messages are there."""
        return self._mail

    def is_written(self, rank: int) -> bool:
        """True if the kernel has everything sent to ``rank``, or if that rank is gone."""
        return not self.peers.unsent_to(rank) or rank in self.peers.gone

    def read_if_idle(self) -> None:
        """Take in what has arrived, for a task that has just begun, unless another one did so a moment ago.

        A member that comes late finds here whether the others have given up.
        """
        if len(self._tasks) <= 1 and time.monotonic() - self._read_s > _MOMENT_S:
            self._take_in(self.peers.poll(0.0))

    def begun(self, group: int) -> list[Task]:
        """The collectives of a group that have begun and are not done, in the order in which they began."""
        tasks = self._tasks
        return [task for task in tasks if task.group == group and not task.done] if tasks else tasks

    # -- for the callers of collectives --------------------------------------------------------------------------------

    def start(
        self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout: timedelta, group: int | None = None
    ) -> Task:
        """Begin a collective of the ranks ``members``; it goes as far as it can at once.

        ``group`` is the number of the group whose barriers wait for it; None for point to point. Errors that
        it raises before it awaits anything are raised here.
        """
        task = Task(coroutine, members, timeout.total_seconds(), group)
        if self._is_inside():
            coroutine.close()
            raise RuntimeError(errors.CALLED_INSIDE)
        try:
            self._enter()
            if self._is_closed:
                coroutine.close()
                raise errors.DistBackendError(errors.GROUP_ENDED)
            self._visits += 1
            task.step(None)
            if task.error:
                raise task.error
            self._tasks.append(task)
            self._advance(task)
            if task.done:
                self._tasks.pop()
        finally:
            if self._is_inside():
                self._exit()
        return task

    def run(
        self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout: timedelta, group: int | None = None
    ) -> Any:
        """Run a collective to its end and return its result, or raise its error."""
        task = self.start(coroutine, members, timeout, group)
        try:
            self.wait(task)
        except BaseException:
            task.group = None  # a signal handler has raised: no caller can wait for it any more, so ``settle`` must not
            raise
        if task.error:
            raise task.error
        return task.result

    def receive(self, address: Address, members: Sequence[int], timeout: timedelta) -> Any:
        """Wait for the next message for ``address`` as a task does, and return what ``take`` does."""
        if self._is_inside():
            raise RuntimeError(errors.CALLED_INSIDE)
        try:
            self._enter()
            if self._is_closed:
                raise errors.DistBackendError(errors.GROUP_ENDED)
            self._visits += 1
            self.peers.watch(members)
            found = self.take(address)
            if found is not None:
                return found
            task = Receipt(Messages((address,)), members, timeout.total_seconds())
            self._tasks.append(task)
            self._advance(task)  # its sender may be gone
            if task.done:
                self._tasks.pop()
        finally:
            if self._is_inside():
                self._exit()
        self.wait(task)
        if task.error:
            raise task.error
        return task.result

    def wait(self, task: Task, timeout_s: float | None = None) -> bool:
        """Run the loop until ``task`` is done; False if ``timeout_s`` is over before. Does not raise its error."""
        if task.done:
            if task.callbacks:
                task.callbacks.call()
            return True
        if self._is_inside():
            raise RuntimeError(errors.CALLED_INSIDE)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        driving = self._driving
        try:
            while not task.done:
                if driving.take(False):
                    try:
                        while not task.done:
                            now = time.monotonic()
                            if until is not None and now >= until:
                                return False
                            self._turn(now, until)
                    finally:
                        driving.give_back()
                        if driving.is_mine():  # still, so a signal handler has interrupted a frame that polls
                            self._poll_again()
                else:
                    driving.follow(task, until, lambda: self._driver_has_to_look(task))
                    if until is not None and time.monotonic() >= until:
                        return task.done
        finally:
            if driving.followers:
                driving.pass_on()
        if task.callbacks:
            task.callbacks.call()
        return True

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

    def when_done(self, task: Task, callback: Callable[[], None]) -> None:
        """Call ``callback`` when ``task`` is done, in the thread that finds it done, before any ``wait`` for it
        returns.

        It may be called again, so it must have no effect the second time.
        """
        with self._lock:
            self._calls_back = True
            if task.callbacks is None:
                task.callbacks = Callbacks()
            task.callbacks.append(callback)
        if task.done:
            task.callbacks.call()

    def keep_moving(self, task: Task) -> None:
        """Let ``task`` go on while no thread waits for it."""
        task.moves = True
        self._background.begin()

    def settle(self) -> None:
        """Wait until the collectives that have begun are done. One that fails now gets the error of an ended group."""
        for task in [task for task in self._tasks if task.group is not None]:
            self.wait(task)
            if task.error is not None:
                ended = errors.DistBackendError(errors.GROUP_ENDED)
                ended.__cause__ = task.error
                task.error = ended

    def close(self) -> None:
        """End the tasks that are under way and close the connections."""
        if self._is_inside():
            raise RuntimeError(errors.CALLED_INSIDE)
        with self._lock:
            self._is_closed = True
            for task in self._tasks:
                task.fail(errors.DistBackendError(errors.GROUP_ENDED))
            finished = self._drop_done()
            self._mail.clear()
        if self._calls_back:
            _call_back(finished)
        self._driving.take_over()
        try:
            self.peers.close()
        finally:
            self._driving.leave()

    def close_in_child(self) -> None:
        """In a forked child: close its copies of the connections, and end the works, which are the parent's."""
        self._is_closed = True
        for task in self._tasks:
            task.error, task.done = errors.DistBackendError(errors.GROUP_ENDED), True
        self.peers.close()

    # -- the loop ------------------------------------------------------------------------------------------------------

    def _turn(self, now: float, until: float | None) -> None:
        """Wait for messages until the next deadline, and continue every task that can.

        For the driver. Polling is outside of the lock: meanwhile other threads, and signal handlers, begin work.
        """
        visits = self._visits
        self._polls_until = _NEVER  # a thread that waits from now on, for a task not counted below, wakes this poll
        self._polls_until = deadline = self._next_deadline(until)
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
            _call_back(finished)

    def _take_in(self, events: list[tuple[int, int]]) -> None:
        """Sort the messages of some events of ``peers``."""
        for source, group, channel, number, payload in self.peers.receive(events):
            self._mail[Address(source, group, channel, number)].append(payload)
            if channel == OVERDUE:
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
        tasks = self._tasks
        if len(tasks) == 1 and until is None:
            return tasks[0].deadline
        deadlines = [task.deadline for task in tasks]
        return min(deadlines if until is None else [*deadlines, until], default=0.0)

    def _drop_done(self) -> list[Task]:
        finished = [task for task in self._tasks if task.done]
        if finished:
            all_done = len(finished) == len(self._tasks)
            self._tasks = [] if all_done else [task for task in self._tasks if not task.done]
            if self._driving.followers:
                self._driving.wake_finished()
        return finished

    def _advance(self, task: Task) -> None:
        while task.waiting is not None:
            payloads = task.waiting.ready(self)
            if payloads is not None:
                task.deadline = max(task.deadline, time.monotonic() + task.timeout_s)
                task.step(payloads)
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


def _call_back(finished: list[Task]) -> None:
    """Call the callbacks of these tasks, outside of the engine's lock, as they may begin work."""
    for task in finished:
        if task.callbacks:
            task.callbacks.call()
