"""One node: starts its ranks, sees them end, ends them. Told what to do by the launcher, over a ``Channel``.

The agent is the parent of its ranks and the heir of whatever they leave behind. It touches none of their output: the
reading ends of their pipes go to the launcher. When the launcher is gone, so are the agent and all that it started.

To the agent: ``start`` (place, ranks, terminal, prefix_columns, color), ``stop`` (signal, grace_s). From it, all with
their attempt: ``rank`` (local_rank, pid, streams, with their descriptors), ``exit`` (local_rank, pid, status, time_s,
told), ``signalled`` and ``forced`` (pid, signal), ``empty`` when no process of the attempt is left, ``refused``
(reason) when a rank can't be started.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..channel import Channel, Message
from ..commandline.config import LaunchConfig
from ..loop import Loop, Timer
from . import kinship
from .environment import Placement, change_environment, changes, rank_environment
from .starting import AT_ONCE, Rank, start_ranks
from .worker import Command

if TYPE_CHECKING:
    from .script import Script

_LEFTOVERS_S: Final = 1.0
"""For what ranks have left behind, such as a resource tracker, to end by itself."""


class Agent:
    """``run`` serves until the launcher says ``quit`` or is gone."""

    def __init__(
        self,
        config: LaunchConfig,
        loop: Loop,
        work: Script | Command,
        inherited: set[str],
        clean_up: Callable[[], None],
    ) -> None:
        """``clean_up``: what is left to do when the launcher was killed and all processes are gone."""
        self._config = config
        self._loop = loop
        self._work = work
        self._inherited = inherited
        self._clean_up = clean_up
        self._channel: Channel | None = None
        self._environment = dict(os.environ)
        self._attempt = -1
        self._alive: dict[int, int] = {}
        """Local rank by pid."""
        self._told: set[int] = set()
        self._timer: Timer | None = None

    def serve(self, channel: Channel) -> NoReturn:
        """Do what comes over ``channel`` (``heard`` and ``orphaned`` are its callbacks), then end the process."""
        self._channel = channel
        kinship.adopt_orphans()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the ranks take it over, as Python has it
        self._loop.on_signals([signal.SIGCHLD], lambda _: self._reap())
        self._loop.run()
        os._exit(0)

    def orphaned(self) -> NoReturn:
        """The launcher is gone: kill everything, at once."""
        self._kill_all()
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
                self._kill_all()
        self._clean_up()
        os._exit(1)

    def heard(self, message: Message, descriptors: Sequence[int]) -> None:
        """The launcher says something."""
        match message.pop("kind"):
            case "start":
                self._start(message)
            case "stop":
                self._stop(message["signal"], message["grace_s"])

    def _say(self, kind: str, descriptors: Sequence[int] = (), **fields: Any) -> None:
        assert self._channel is not None
        self._channel.send({"kind": kind, "attempt": self._attempt, **fields}, descriptors)

    # -- starting -----------------------------------------------------------------------------------------------------

    def _start(self, order: Message) -> None:
        place = Placement(**order["place"])
        self._attempt = place.attempt
        self._alive, self._told = {}, set()
        environments = [
            rank_environment(
                self._config, place, local_rank, rank["error_file"], terminal=order["terminal"],
                prefix_columns=order["prefix_columns"], color=order["color"], base=self._environment,
            )
            for local_rank, rank in enumerate(order["ranks"])
        ]  # fmt: skip
        common = environments[-1]
        change_environment(changes(os.environ, common))
        ranks = [
            Rank(local_rank, streams, changes(common, environment))
            for local_rank, (streams, environment) in enumerate(zip(order["ranks"], environments, strict=True))
        ]
        with self._loop.without_signals():
            for first in range(0, len(ranks), AT_ONCE):
                together = ranks[first : first + AT_ONCE]
                failure = start_ranks(together, self._work, self._inherited)
                for rank in together:
                    self._started(rank)
                if failure:
                    number = place.first_rank + len(self._alive)
                    self._say("refused", reason=f"rank {number} can't be started: {_reason_of(failure)}")
                    break
        self._reap()  # nobody was told of ends meanwhile

    def _started(self, rank: Rank) -> None:
        if rank.pid:
            self._alive[rank.pid] = rank.local_rank
            self._say("rank", [*rank.ours.values()], local_rank=rank.local_rank, pid=rank.pid, streams=[*rank.ours])
        rank.close()

    # -- ending -------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        now_s = time.time()  # of what is seen together nobody knows which came first
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                if pid in self._alive:
                    self._say(
                        "exit", local_rank=self._alive.pop(pid), pid=pid, time_s=now_s, told=pid in self._told,
                        status=os.waitstatus_to_exitcode(status),
                    )  # fmt: skip
        self._look_for_the_end()

    def _stop(self, number: int, grace_s: float) -> None:
        """Pass a signal on to all ranks, and kill those that are still there after ``grace_s``."""
        if self._attempt < 0:
            return
        for pid in self._alive:
            os.kill(pid, number)  # it is not reaped, so it is ours
            self._told.add(pid)
            if number != signal.SIGKILL:
                self._say("signalled", pid=pid, signal=number)
        if self._timer:
            self._timer.cancel()
        grace_s = grace_s if self._alive else min(grace_s, _LEFTOVERS_S)
        self._timer = self._loop.after(grace_s, lambda: self._force(number))

    def _force(self, number: int) -> None:
        for pid in self._alive if number != signal.SIGKILL else ():
            self._say("forced", pid=pid, signal=number)
        self._kill_all()

    def _look_for_the_end(self) -> None:
        """When the ranks have ended, so must what they left behind; then the attempt is over."""
        if self._alive or self._attempt < 0:
            return
        if _is_childless():
            if self._timer:
                self._timer.cancel()
                self._timer = None
            self._say("empty")
            self._attempt = -1
            return
        if not self._told.issuperset(leftovers := kinship.children()):
            for pid in set(leftovers) - self._told:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            self._told.update(leftovers)
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.after(_LEFTOVERS_S, self._kill_leftovers)

    def _kill_leftovers(self) -> None:
        self._kill_all()
        self._timer = self._loop.after(_LEFTOVERS_S, self._kill_leftovers)  # they may just have started others

    def _kill_all(self) -> None:
        for pid in [*self._alive, *kinship.children()]:
            for kill in (os.killpg, os.kill):
                with suppress(OSError):
                    kill(pid, signal.SIGKILL)
        self._timer = None


def _reason_of(error: OSError) -> str:
    if error.filename:
        return f"{error.strerror}: {error.filename} can't be written"
    return f"{error.strerror}: start fewer ranks, or raise the limit on processes (ulimit -u, pids.max of the cgroup)"


def _is_childless() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
