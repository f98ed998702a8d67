"""The progress engine: one selector loop that moves messages, and the collectives that wait for them.

A collective is a coroutine that awaits messages. Whoever waits for one collective lets all others of this process go on
too, so several may be in flight, in any order, on any number of groups, without a thread. Nothing moves while the
process is outside of this package: what has been sent lies in the kernel until then.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from . import errors
from .tasks import ANY_SOURCE, COLLECTIVE, OVERDUE, Address, Messages, Task

if TYPE_CHECKING:
    from .peers import Peers
    from .wire import Payload

LAST_WORD_S: Final = 0.8
"""After a member has died, or time is up, how long a group may still hear how its collective ended."""


class Engine:
    """Moves tasks and messages of one process. ``peers`` are the connections to the other ranks."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self._tasks: list[Task] = []
        self._mail: defaultdict[Address, deque[Payload]] = defaultdict(deque)

    # -- for collectives ----------------------------------------------------------------------------------------------

    def send(
        self, to: int, group: int, channel: int, number: int, payload: Payload, tail: memoryview | None = None
    ) -> None:
        """Hand a message, ``payload`` and ``tail``, to the kernel, or to the queue that the loop empties."""
        self.peers.send(to, group, channel, number, payload, tail)

    def take(self, address: Address) -> Any:
        """The oldest message for an address, or None; for ANY_SOURCE (source, message) of the first that fits."""
        if address.source == ANY_SOURCE:
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

    # -- for those who call them --------------------------------------------------------------------------------------

    def start(self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout_s: float) -> Task:
        """Begin a collective of the ranks ``members``; it goes as far as it can at once.

        What is wrong with its arguments, found before anything was awaited, is raised here.
        """
        task = Task(coroutine, members, timeout_s)
        task.step(None)
        if task.error:
            raise task.error
        self._tasks.append(task)
        self._advance(task)
        self._drop_done()
        return task

    def wait(self, task: Task, timeout_s: float | None = None) -> bool:
        """Run the loop until ``task`` is done; False if ``timeout_s`` is over before. Its error is the caller's."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not task.done:
            now = time.monotonic()
            if until is not None and now >= until:
                return False
            self.turn(self._next_deadline(until) - now)
        return True

    def flush(self, timeout_s: float) -> None:
        """Run the loop until everything sent is with the kernel."""
        until = time.monotonic() + timeout_s
        while self.peers.unsent and time.monotonic() < until:
            self.turn(until - time.monotonic())

    def turn(self, timeout_s: float) -> None:
        """Take what has arrived, waiting at most ``timeout_s`` for it, and let every task go on that can."""
        for source, group, channel, number, payload in self.peers.receive(max(0.0, timeout_s)):
            self._mail[Address(source, group, channel, number)].append(payload)
            if channel == OVERDUE:
                self._hurry(group, number)
        for task in list(self._tasks):
            self._advance(task)
        self._drop_done()

    def close(self) -> None:
        """End what is under way and let go of the connections."""
        for task in self._tasks:
            task.fail(errors.DistBackendError(errors.GROUP_ENDED))
        self._drop_done()
        self._mail.clear()
        self.peers.close()

    def _next_deadline(self, until: float | None) -> float:
        deadlines = [task.deadline for task in self._tasks]
        return min(deadlines if until is None else [*deadlines, until])

    def _drop_done(self) -> None:
        finished = [task for task in self._tasks if task.done]
        if finished:
            self._tasks = [task for task in self._tasks if not task.done]
            for task in finished:
                for callback in task.callbacks:
                    callback()

    def _advance(self, task: Task) -> None:
        while task.waiting is not None:
            payloads = task.waiting.ready(self)
            if payloads is not None:
                task.deadline = max(task.deadline, time.monotonic() + task.timeout_s)
                task.step(payloads)
                continue
            error = self._failure(task, task.waiting.missing())
            if error is None:
                return
            task.step(None, error)

    def _failure(self, task: Task, missing: list[int]) -> errors.DistError | None:
        """What a waiting task has to be told: that a peer is gone, or that time is up."""
        now = time.monotonic()
        gone = self.peers.gone
        if gone:
            others = [rank for rank in gone if rank in task.members]
            if missing == [ANY_SOURCE]:
                needed = others if len(others) == len(task.members) - 1 else []
            else:
                needed = [rank for rank in missing if rank in gone]
                if others:
                    # It may have died after its part was done, with the result still on its way to us.
                    task.deadline = min(task.deadline, now + LAST_WORD_S)
            if needed or (others and now >= task.deadline):
                task.deadline = now + LAST_WORD_S
                return errors.PeerGoneError(needed or others)
        if now < task.deadline:
            return None
        task.deadline = now + LAST_WORD_S  # to ask, and to tell
        late = [rank for rank in task.members if rank != self.peers.rank] if missing == [ANY_SOURCE] else missing
        return errors.TimedOutError(late, task.timeout_s)

    def _hurry(self, group: int, number: int) -> None:
        """A member's time for this exchange is up; so is ours, if we wait in it."""
        for task in self._tasks:
            waiting = task.waiting
            if (
                isinstance(waiting, Messages)
                and waiting.addresses
                and waiting.addresses[0][1:] == (group, COLLECTIVE, number)
            ):
                task.deadline = min(task.deadline, time.monotonic())
