"""The launcher's end of one node: the agent's process, what it has started, and how to talk to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import reduce
from operator import or_

from fake_torch_dist.launcher.channel import Channel, LogMessage
from fake_torch_dist.launcher.workers import linux_processes
from fake_torch_dist.launcher.workers.job_processes import JobProcesses
from fake_torch_dist.launcher.workers.rank_environment import NodeAssignment

OnMessage = Callable[["LocalNode", LogMessage, Sequence[int]], None]


class LocalNode:
    """``connect`` forks an agent and returns the channel to it; a node whose agent was killed gets a new one."""

    def __init__(self, index: int, name: str, connect: Callable[[LocalNode], tuple[int, Channel]]) -> None:
        self.index = index
        self.name = name
        """Host name of an emulated node; empty for this host."""
        self.is_empty = True
        """No process of an attempt is left."""
        self._connect = connect
        self.pid = 0
        """Of the agent; 0 while there is none."""
        self._channel: Channel | None = None
        self._pids: dict[int, int] = {}
        """Local rank by pid, of the ranks that have not ended."""
        self._unfinished: set[int] = set()
        """Local ranks whose end has not been seen."""
        self._last_pid = 0
        """Of the agent that was lost."""
        self._attempt = -1
        self.job_processes = JobProcesses()

    def listen(self, on_message: OnMessage, on_lost: Callable[[LocalNode], None]) -> None:
        """Whom to tell."""
        self._on_message = on_message
        self._on_lost = on_lost

    def start(
        self,
        place: NodeAssignment,
        ranks: Sequence[Mapping[str, str]],
        *,
        terminal: str | None,
        prefix_columns: int,
        color: bool,
    ) -> None:
        """Start the ranks. ``ranks``: by local rank, where each stream goes, and its error file. The others: see
        ``rank_environment``.
        """
        if self._channel is None:
            self.pid, self._channel = self._connect(self)
        self.is_empty = False
        self.job_processes.forget()
        self.job_processes.add_agent(self.pid)
        self._attempt = place.attempt
        self._pids, self._unfinished = {}, set(range(len(ranks)))
        self._channel.send({
            "kind": "start", "place": asdict(place), "ranks": list(ranks), "terminal": terminal,
            "prefix_columns": prefix_columns, "color": color,
        })  # fmt: skip

    def stop(self, number: int, grace_s: float) -> None:
        """Have a signal sent to all ranks, and SIGKILL to those that are left after ``grace_s``."""
        if self._channel and not self.is_empty:
            self._channel.send({"kind": "stop", "signal": int(number), "grace_s": grace_s})

    def pass_on(self, number: int) -> None:
        """Have a signal sent to all ranks, which go on as they see fit."""
        if self._channel and not self.is_empty:
            self._channel.send({"kind": "pass_on", "signal": int(number)})

    def signal_ranks(self, number: int) -> None:
        """All of them, and without a word."""
        for pid in self._pids:
            with suppress(OSError):
                os.kill(pid, number)

    def heard(self, message: LogMessage, descriptors: Sequence[int]) -> None:
        """The agent says something; of an attempt that is over, nothing counts."""
        if message["attempt"] != self._attempt:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        match message["kind"]:
            case "rank":
                self._pids[message["pid"]] = message["local_rank"]
                self.job_processes.add_rank(message["pid"], descriptors)
            case "exit":
                self._pids.pop(message["pid"], None)
                self._unfinished.discard(message["local_rank"])
            case "empty":
                self.is_empty = True
        self._on_message(self, message, descriptors)

    def lost(self) -> None:
        """The agent is gone."""
        self._last_pid = self.pid
        self._reap()
        self._channel = None
        self._on_lost(self)

    def kill_agent(self) -> None:
        """If the attempt is not over for it."""
        if self.pid and not self.is_empty:
            os.kill(self.pid, signal.SIGKILL)

    def kill_ranks(self) -> dict[int, int]:
        """After the agent's death: end what is left, which is ours now. Returns pids by local rank, of all ranks whose
        end was not seen; of one that had not been started, or was not said to be, it is the agent's.
        """
        lost = dict.fromkeys(sorted(self._unfinished), self._last_pid)
        for pid, local_rank in self._pids.items():
            lost[local_rank] = pid
            linux_processes.kill(pid, signal.SIGKILL)
        self._pids, self._unfinished = {}, set()
        self.is_empty = True
        return lost

    def end(self) -> None:
        """The agent goes; it has nothing left to look after."""
        if self._channel:
            self._channel.close()
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            self._reap()
            self._channel = None

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.pid = 0


def end_orphans(nodes: Iterable[LocalNode]) -> None:
    """Kill what a killed agent's ranks have left behind: this process has inherited it. Agents stay."""
    nodes = list(nodes)
    job_processes = reduce(or_, (node.job_processes for node in nodes), JobProcesses())
    agents = {node.pid for node in nodes}
    linux_processes.kill_all(
        lambda: [pid for pid in linux_processes.children() or () if pid not in agents and pid in job_processes]
    )
