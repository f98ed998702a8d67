"""One node: starts its ranks, sees them end, ends them. Told what to do by the launcher, over a ``Channel``.

The agent is the parent of its ranks and the heir of whatever they leave behind. It touches none of their output: the
reading ends of their pipes go to the launcher. When the launcher is gone, so are the agent and all that it started.

Signals that are sent to all processes of a job do nothing here (``signal_mask``): what a signal means for the ranks is
the launcher's to decide.

To the agent: ``start`` (place, ranks, terminal, prefix_columns, color), ``stop`` (signal, grace_s), ``pass_on``
(signal) without an end. From it, all with
their attempt: ``rank`` (local_rank, pid, streams, with their descriptors), ``exit`` (local_rank, pid, status, time_s,
told), ``signalled`` and ``forced`` (pid, signal), ``empty`` when no process of the attempt is left, ``refused``
(reason) when a rank can't be started.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fake_torch_dist.launcher.channel import Channel, LogMessage
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.loop import Loop, Timer
from fake_torch_dist.launcher.workers import linux_processes
from fake_torch_dist.launcher.workers.job_processes import JobProcesses
from fake_torch_dist.launcher.workers.rank_environment import (
    NodeAssignment,
    change_environment,
    changes,
    rank_environment,
)
from fake_torch_dist.launcher.workers.start import AT_ONCE, Rank, start_ranks
from fake_torch_dist.launcher.workers.worker import Command

if TYPE_CHECKING:
    from fake_torch_dist.launcher.workers.script import Script

_LEFTOVERS_S: Final = 1.0
"""For what ranks that ended by themselves have left behind, such as a resource tracker, to end after SIGTERM."""
_ROUNDS_OF_KILLS: Final = 5
"""A process that is still there then is another user's, or waits in the kernel: it is not waited for."""


class Agent:
    """``serve`` starts and ends ranks as the launcher's messages say, until the launcher is gone."""

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
        self._ranks_told: set[int] = set()
        """Pids, and process groups, of the ranks to which the signal of a stop was sent."""
        self._told: set[int] = set()
        """Leftovers to which it, or SIGTERM, was sent."""
        self._stop_signal = 0
        """Of the stop that is under way; 0 if the ranks end by themselves."""
        self._kills = 0
        self._belongings = JobProcesses()
        self._timer: Timer | None = None

    def serve(self, channel: Channel) -> NoReturn:
        """Do what comes over ``channel`` (``heard`` and ``orphaned`` are its callbacks), then end the process."""
        self._channel = channel
        linux_processes.set_child_subreaper()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the ranks take it over, as Python has it
        self._loop.on_signals([signal.SIGCHLD], lambda _: self._reap())
        self._loop.run()
        os._exit(0)

    def orphaned(self) -> NoReturn:
        """The launcher is gone: kill everything, at once."""
        linux_processes.kill_all(lambda: self._unreaped() + self._leftovers())
        self._clean_up()
        os._exit(1)

    def heard(self, message: LogMessage, descriptors: Sequence[int]) -> None:
        """The launcher says something."""
        match message.pop("kind"):
            case "start":
                self._start(message)
            case "stop":
                self._stop(message["signal"], message["grace_s"])
            case "pass_on":
                for pid in self._alive:
                    with suppress(OSError):  # a rank that has become another user
                        os.kill(pid, message["signal"])

    def _say(self, kind: str, descriptors: Sequence[int] = (), **fields: Any) -> None:
        assert self._channel is not None
        self._channel.send({"kind": kind, "attempt": self._attempt, **fields}, descriptors)

    # -- starting -----------------------------------------------------------------------------------------------------

    def _start(self, order: LogMessage) -> None:
        place = NodeAssignment(**order["place"])
        self._attempt = place.attempt
        self._alive, self._ranks_told, self._told = {}, set(), set()
        self._stop_signal = self._kills = 0
        self._belongings.forget()
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
        linux_processes.set_process_name(
            os.path.basename(sys.executable)
        )  # as a rank is called that starts an interpreter
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
        linux_processes.set_process_name(place.node or "agent")
        self._reap()  # nobody was told of ends meanwhile

    def _started(self, rank: Rank) -> None:
        if rank.pid:
            self._alive[rank.pid] = rank.local_rank
            self._belongings.add_rank(rank.pid, rank.ours.values())
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
                        "exit", local_rank=self._alive.pop(pid), pid=pid, time_s=now_s, told=pid in self._ranks_told,
                        status=os.waitstatus_to_exitcode(status),
                    )  # fmt: skip
        self._look_for_the_end()

    def _stop(self, number: int, grace_s: float) -> None:
        """Send a signal to all ranks and to what they started, and kill what is still there after ``grace_s``."""
        if self._attempt < 0:
            return
        self._stop_signal = number
        for pid in self._alive:
            linux_processes.kill(pid, number)  # it is not reaped, so it is ours
            self._ranks_told.add(pid)
            if number != signal.SIGKILL:
                self._say("signalled", pid=pid, signal=number)
        self._tell(self._leftovers())
        self._kill_after(grace_s, lambda: self._force(number))

    def _force(self, number: int) -> None:
        for pid in self._alive if number != signal.SIGKILL else ():
            self._say("forced", pid=pid, signal=number)
        self._kill_rest()

    def _look_for_the_end(self) -> None:
        """When the ranks have ended, so must what they left behind; then the attempt is over.

        In a stop that has the rest of the grace: the rank may have been a shell, and what it left is the script.
        """
        if self._alive or self._attempt < 0:
            return
        leftovers = self._leftovers()
        if not leftovers or self._kills > _ROUNDS_OF_KILLS:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            self._say("empty")
            self._attempt = -1
        elif self._tell(leftovers) and not self._stop_signal:
            self._kill_after(_LEFTOVERS_S, self._kill_rest)

    def _leftovers(self) -> list[int]:
        """Processes of the job that ranks have left behind; where nothing tells children, the ranks' process groups."""
        if _is_childless():
            return []
        children = linux_processes.children()
        if children is None:
            return [group for group in self._belongings.groups if -group not in self._alive]
        return [pid for pid in children if pid not in self._alive and pid in self._belongings]

    def _tell(self, leftovers: Sequence[int]) -> bool:
        """Send them the signal of the stop, or SIGTERM, once. Whether there were any that had not got it."""
        untold = [pid for pid in leftovers if pid not in self._told]
        for pid in untold:
            if _group_of(pid) not in self._ranks_told:  # else it got the signal with its rank
                with suppress(OSError):
                    os.kill(pid, self._stop_signal or signal.SIGTERM)
        self._told.update(untold)
        return bool(untold)

    def _kill_after(self, seconds: float, kill: Callable[[], None]) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.after(seconds, kill)

    def _kill_rest(self) -> None:
        for pid in [*self._alive, *self._leftovers()]:
            linux_processes.kill(pid, signal.SIGKILL)
        self._kills += 1
        self._kill_after(_LEFTOVERS_S, self._kill_rest)  # they may just have started others
        self._look_for_the_end()

    def _unreaped(self) -> list[int]:
        """Ranks whose end has not been seen."""
        for pid in list(self._alive):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            del self._alive[pid]
        return list(self._alive)


def _reason_of(error: OSError) -> str:
    if error.filename:
        return f"{error.strerror}: {error.filename} can't be written"
    return f"{error.strerror}: start fewer ranks, or raise the limit on processes (ulimit -u, pids.max of the cgroup)"


def _group_of(pid: int) -> int:
    """Of a process; a negative number is a group itself. 0 if it is gone."""
    if pid < 0:
        return -pid
    with suppress(OSError):
        return os.getpgid(pid)
    return 0


def _is_childless() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
