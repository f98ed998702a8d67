"""A node whose ranks this command starts: the agent's process and the launcher's channel to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import Final, TypeAlias

from fake_torch_dist.launcher.channel import Channel
from fake_torch_dist.launcher.protocol.agent_messages import (
    FromAgent,
    NodeEmpty,
    RankExited,
    RankStarted,
    SignalRanks,
    StartRanks,
    StopRanks,
    ToAgent,
)
from fake_torch_dist.launcher.workers import linux_processes
from fake_torch_dist.launcher.workers.job_processes import JobProcesses

AgentChannel: TypeAlias = Channel[ToAgent, FromAgent]
POWER_FAILURE: Final = getattr(signal, "SIGPWR", None)
"""Signal that ends the agent of a machine which does not come back; None on systems without it."""
OnMessage = Callable[["LocalNode", FromAgent, Sequence[int]], None]


class LocalNode:
    """``connect`` forks an agent and returns its pid and the channel to it; it is called again if the agent is lost."""

    def __init__(self, index: int, name: str, connect: Callable[[LocalNode], tuple[int, AgentChannel]]) -> None:
        self.index = index
        self.name = name
        """Host name of an emulated node; empty for this host."""
        self.is_empty = True
        """No process of an attempt is left."""
        self._connect = connect
        self.pid = 0
        """Process id of the agent; 0 while there is none."""
        self._channel: AgentChannel | None = None
        self._pids: dict[int, int] = {}
        """Local rank by pid, of the ranks that have not ended."""
        self._unfinished: set[int] = set()
        """Local ranks whose end has not been reported."""
        self._last_pid = 0
        """Process id of the agent that was lost."""
        self._attempt = -1
        self.is_gone_for_good = False
        """The agent has ended by SIGPWR, the signal of a power failure, so it is not started again."""
        self.job_processes = JobProcesses()

    def listen(self, on_message: OnMessage, on_lost: Callable[[LocalNode], None]) -> None:
        """Set the callbacks for messages of the agent and for its end."""
        self._on_message = on_message
        self._on_lost = on_lost

    def start(self, order: StartRanks) -> None:
        """Start the ranks, with a new agent if there is none."""
        if self._channel is None:
            self.pid, self._channel = self._connect(self)
        self.is_empty = False
        self.job_processes.forget()
        self.job_processes.add_agent(self.pid)
        self._attempt = order.assignment.attempt
        self._pids, self._unfinished = {}, set(range(len(order.ranks)))
        self._channel.send(order)

    def stop(self, number: int, grace_s: float) -> None:
        """Let the agent signal all ranks, and send SIGKILL to those that are left after ``grace_s``."""
        if self._channel and not self.is_empty:
            self._channel.send(StopRanks(int(number), grace_s))

    def pass_on(self, number: int) -> None:
        """Let the agent send a signal to all ranks, without ending them."""
        if self._channel and not self.is_empty:
            self._channel.send(SignalRanks(int(number)))

    def signal_ranks(self, number: int) -> None:
        """Send a signal to all ranks directly, without the agent and without a log line."""
        for pid in self._pids:
            with suppress(OSError):
                os.kill(pid, number)

    def on_message(self, message: FromAgent, descriptors: Sequence[int]) -> None:
        """Take a message of the agent. One of an earlier attempt is dropped."""
        if message.attempt != self._attempt:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        match message:
            case RankStarted():
                self._pids[message.pid] = message.local_rank
                self.job_processes.add_rank(message.pid, descriptors)
            case RankExited():
                self._pids.pop(message.pid, None)
                self._unfinished.discard(message.local_rank)
            case NodeEmpty():
                self.is_empty = True
        self._on_message(self, message, descriptors)

    def on_agent_gone(self) -> None:
        """Reap the agent, whose channel has closed."""
        self._last_pid = self.pid
        self.is_gone_for_good = self._reap() == POWER_FAILURE
        self._channel = None
        self._on_lost(self)

    def kill_agent(self) -> None:
        """Kill the agent if its attempt is not over."""
        if self.pid and not self.is_empty:
            os.kill(self.pid, signal.SIGKILL)

    def kill_ranks(self) -> dict[int, int]:
        """Kill the ranks that an ended agent has left, which are children of this process now.

        Returns pids by local rank, of all ranks whose end was not reported. The pid is the agent's for a rank that had
        not been started, or whose start was not reported.
        """
        lost = dict.fromkeys(sorted(self._unfinished), self._last_pid)
        for pid, local_rank in self._pids.items():
            lost[local_rank] = pid
            linux_processes.kill(pid, signal.SIGKILL)
        self._pids, self._unfinished = {}, set()
        self.is_empty = True
        return lost

    def end(self) -> None:
        """End the agent, which has no process left."""
        if self._channel:
            self._channel.close()
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            self._reap()
            self._channel = None

    def _reap(self) -> int:
        """Wait for the agent's end. Returns the number of the signal that ended it; 0 if none did."""
        status = 0
        with suppress(ChildProcessError):
            status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def kill_orphans(nodes: Iterable[LocalNode]) -> None:
    """Kill the processes that ranks of a killed agent have left to this process. Agents are not killed."""
    nodes = list(nodes)
    job_processes = reduce(or_, (node.job_processes for node in nodes), JobProcesses())
    agents = {node.pid for node in nodes}

    def orphans() -> list[int]:
        return [pid for pid in linux_processes.children() or () if pid not in agents and pid in job_processes]

    linux_processes.kill_all(orphans)
