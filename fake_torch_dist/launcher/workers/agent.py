"""The agent of one node: a process that starts the node's ranks, waits for their ends, and ends them.

The launcher directs it by the messages of ``agent_messages``. The agent is the parent of its ranks and inherits the
processes that they leave behind. It reads none of their output: the reading ends of their pipes go to the launcher.
When the launcher is gone, the agent kills all that it started and ends.

Signals that are sent to all processes of a job are blocked here (``signal_mask``): the launcher decides on their effect
for the ranks.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from fake_torch_dist.launcher.channel import Channel
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.protocol.agent_messages import (
    FromAgent,
    NodeEmpty,
    RankExited,
    RankStarted,
    SignalRanks,
    StartFailed,
    StartRanks,
    StopForced,
    StopRanks,
    StopSignalSent,
    ToAgent,
)
from fake_torch_dist.launcher.workers import linux_processes
from fake_torch_dist.launcher.workers.job_processes import JobProcesses
from fake_torch_dist.launcher.workers.leftovers import Leftovers
from fake_torch_dist.launcher.workers.rank_environment import change_environment, changes, rank_environment
from fake_torch_dist.launcher.workers.start import RANKS_AT_ONCE, Rank, start_ranks
from fake_torch_dist.launcher.workers.start_gate import StartGate
from fake_torch_dist.launcher.workers.worker import Command

if TYPE_CHECKING:
    from fake_torch_dist.launcher.workers.script import Script

LauncherChannel: TypeAlias = Channel[FromAgent, ToAgent]

_LEFTOVERS_S: Final = 1.0
"""Time after SIGTERM for leftovers of ranks that ended by themselves, such as a resource tracker, to end."""
_ROUNDS_OF_KILLS: Final = 5
"""A process that is there after so many rounds is another user's, or waits in the kernel: the agent stops waiting."""


class Agent:
    """``serve`` starts and ends ranks by the launcher's messages, until the launcher is gone."""

    def __init__(
        self,
        config: LaunchConfig,
        loop: EventLoop,
        work: Script | Command,
        inherited: set[str],
        clean_up: Callable[[], None],
    ) -> None:
        """``clean_up`` is called if the launcher is killed, after all processes are gone."""
        self._config = config
        self._loop = loop
        self._work = work
        self._inherited = inherited
        self._clean_up = clean_up
        self._channel: LauncherChannel | None = None
        self._environment = dict(os.environ)
        self._attempt = -1
        self._alive: dict[int, int] = {}
        """Local rank by pid."""
        self._signalled: set[int] = set()
        """Pids, which are also process groups, of the ranks to which the signal of a stop was sent."""
        self._stop_signal = 0
        """Signal of the stop that is under way; 0 if the ranks end by themselves."""
        self._kills = 0
        self._job_processes = JobProcesses()
        self._leftovers = Leftovers(self._job_processes)
        self._timer: Timer | None = None

    def serve(self, channel: LauncherChannel) -> NoReturn:
        """Follow the messages of ``channel``, whose callbacks are methods of this object, then end the process."""
        self._channel = channel
        linux_processes.set_child_subreaper()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the ranks inherit it, as Python's default
        self._loop.on_signals([signal.SIGCHLD], lambda _: self._reap())
        self._loop.run()
        os._exit(0)

    def on_launcher_gone(self) -> NoReturn:
        """Kill all processes of the node and end."""
        linux_processes.kill_all(lambda: self._unreaped() + self._leftovers.find(self._alive))
        self._clean_up()
        os._exit(1)

    def on_message(self, message: ToAgent, descriptors: Sequence[int]) -> None:
        """Carry out a message of the launcher."""
        match message:
            case StartRanks():
                self._start(message)
            case StopRanks():
                self._stop(message.signal, message.grace_s)
            case SignalRanks():
                for pid in self._alive:
                    with suppress(OSError):  # a rank may have become another user's
                        os.kill(pid, message.signal)

    def _send(self, message: FromAgent, descriptors: Sequence[int] = ()) -> None:
        assert self._channel is not None
        self._channel.send(message, descriptors)

    # -- starting -----------------------------------------------------------------------------------------------------

    def _start(self, order: StartRanks) -> None:
        assignment = order.assignment
        self._attempt = assignment.attempt
        self._alive, self._signalled = {}, set()
        self._stop_signal = self._kills = 0
        self._job_processes.forget()
        self._leftovers.forget()
        linux_processes.set_process_name(os.path.basename(sys.executable))  # the name of a rank with an interpreter
        with self._loop.without_signals():
            self._start_in_batches(self._prepared_ranks(order), assignment.first_rank)
        linux_processes.set_process_name(assignment.node or "agent")
        self._reap()  # SIGCHLD was not handled meanwhile

    def _prepared_ranks(self, order: StartRanks) -> list[Rank]:
        """Return the ranks, and give this process the variables that they have in common."""
        environments = [
            rank_environment(
                self._config, order.assignment, local_rank, rank.error_file, terminal=order.terminal,
                prefix_columns=order.prefix_columns, color=order.color, keys=order.keys,
                base=self._environment,
            )
            for local_rank, rank in enumerate(order.ranks)
        ]  # fmt: skip
        common = environments[-1]
        change_environment(changes(os.environ, common))
        return [
            Rank(local_rank, targets, changes(common, environment))
            for local_rank, (targets, environment) in enumerate(zip(order.ranks, environments, strict=True))
        ]

    def _start_in_batches(self, ranks: Sequence[Rank], first_rank: int) -> None:
        for first in range(0, len(ranks), RANKS_AT_ONCE):
            together = ranks[first : first + RANKS_AT_ONCE]
            gate = StartGate()
            failure = start_ranks(together, self._work, self._inherited, gate)
            for rank in together:
                self._report_start(rank)
            gate.open(len(together))
            if failure:
                reason = f"rank {first_rank + len(self._alive)} can't be started: {_reason_of(failure)}"
                self._send(StartFailed(self._attempt, reason))
                return

    def _report_start(self, rank: Rank) -> None:
        if rank.pid:
            self._alive[rank.pid] = rank.local_rank
            self._job_processes.add_rank(rank.pid, rank.ours.values())
            started = RankStarted(self._attempt, rank.local_rank, rank.pid, tuple(rank.ours))
            self._send(started, [*rank.ours.values()])
        rank.close()

    # -- ending -------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        now_s = time.time()  # ends that are seen together have one time: their order is unknown
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                if pid in self._alive:
                    local_rank, exitcode = self._alive.pop(pid), os.waitstatus_to_exitcode(status)
                    was_signalled = pid in self._signalled
                    self._send(RankExited(self._attempt, local_rank, pid, exitcode, now_s, was_signalled))
        self._finish_if_empty()

    def _stop(self, number: int, grace_s: float) -> None:
        """Send a signal to all ranks and to what they started, and kill what is still there after ``grace_s``."""
        if self._attempt < 0:
            return
        self._stop_signal = number
        for pid in self._alive:
            linux_processes.kill(pid, number)  # the pid is not reaped, so it is still this rank's
            self._signalled.add(pid)
            if number != signal.SIGKILL:
                self._send(StopSignalSent(self._attempt, pid, number))
        self._leftovers.signal(self._leftovers.find(self._alive), number, self._signalled)
        self._kill_after(grace_s, lambda: self._force(number))

    def _force(self, number: int) -> None:
        for pid in self._alive if number != signal.SIGKILL else ():
            self._send(StopForced(self._attempt, pid, number))
        self._kill_rest()

    def _finish_if_empty(self) -> None:
        """End what ended ranks have left behind; the attempt is over when nothing is left.

        During a stop the leftovers have the rest of the grace: a rank may be a shell, and its leftover the script.
        """
        if self._alive or self._attempt < 0:
            return
        leftovers = self._leftovers.find(self._alive)
        if not leftovers or self._kills > _ROUNDS_OF_KILLS:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            self._send(NodeEmpty(self._attempt))
            self._attempt = -1
        elif (
            self._leftovers.signal(leftovers, self._stop_signal or signal.SIGTERM, self._signalled)
            and not self._stop_signal
        ):
            self._kill_after(_LEFTOVERS_S, self._kill_rest)

    def _kill_after(self, seconds: float, kill: Callable[[], None]) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.after(seconds, kill)

    def _kill_rest(self) -> None:
        for pid in [*self._alive, *self._leftovers.find(self._alive)]:
            linux_processes.kill(pid, signal.SIGKILL)
        self._kills += 1
        self._kill_after(_LEFTOVERS_S, self._kill_rest)  # they may just have started others
        self._finish_if_empty()

    def _unreaped(self) -> list[int]:
        """Return the ranks that have not ended; those that have are reaped."""
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
