"""The progress engine: how a process begins collectives and waits for them, on top of one loop.

A collective is a coroutine that awaits messages. A thread that waits for one collective continues all others of this
process, too, so several may be in flight, in any order, on any number of groups. Any number of threads may begin and
wait (``loop``). Asynchronous work goes on while its process computes.

A signal handler may begin work and wait for it, wherever it interrupts its thread except inside of the lock, where
messages are in an intermediate state; a call there raises RuntimeError.

Order, as in MPI: the collectives of a group match in the order in which each member begins them, asynchronous or not.
They may end in any order; their arrays belong to them until then. A barrier of a group ends after all collectives of
the group that any member began before it. Messages of one sender, receiver, group and tag are received in the order in
which they were sent, and by the receives in the order in which those were begun. Nothing else is ordered: neither
collectives of different groups nor messages and collectives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fake_torch_dist import errors
from fake_torch_dist.core.task import Callbacks, Receipt, Task
from fake_torch_dist.transports.loop import Loop, call_back
from fake_torch_dist.transports.waits import Address, Messages

if TYPE_CHECKING:
    from fake_torch_dist.transports.wire import Payload


class Engine(Loop):
    """Begins collectives of one process and waits for them."""

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
            return self.mailbox.is_written(to)
        finally:
            if self._is_inside():
                self._exit()

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
        """Wait for the next message for ``address`` as a task does, and return what ``Mailbox.take`` does."""
        if self._is_inside():
            raise RuntimeError(errors.CALLED_INSIDE)
        try:
            self._enter()
            if self._is_closed:
                raise errors.DistBackendError(errors.GROUP_ENDED)
            self._visits += 1
            self.peers.watch(members)
            found = self.mailbox.take(address)
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
            self.mailbox.clear()
        if self._calls_back:
            call_back(finished)
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
