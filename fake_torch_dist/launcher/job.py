"""A job from its first attempt to its end: starts all nodes, ends them together, restarts them.

A group of ranks lives and dies together: the first one that fails ends the others, and the whole world begins anew as
long as restarts are left. Nodes that have commands of their own are told what to do; one that is gone counts as failed,
and the next attempt does without it if --nnodes allows. A node that comes to a job that runs, at a c10d endpoint with
--nnodes MIN:MAX, is taken in: the ranks are ended, and start again with it. That counts as no restart.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.hosts.admission import Admission
from fake_torch_dist.launcher.hosts.remote_node import RemoteNode
from fake_torch_dist.launcher.loop import Loop, Timer
from fake_torch_dist.launcher.reports.log_messages import NODE_GONE
from fake_torch_dist.launcher.stop import Stop
from fake_torch_dist.launcher.worker_group import AGENT_PATIENCE_S, WorkerGroup
from fake_torch_dist.launcher.workers.rank_environment import NodeAssignment

NODE_PATIENCE_S: Final = 2 * AGENT_PATIENCE_S
"""What another node may take, after the grace, to say that nothing is left there."""
_MORE_NODES_S: Final = 0.1
"""Between the first node that comes to a job that runs, and the end of its ranks: torchrun's monitor interval."""


@dataclass
class _Attempt:
    """What has happened since all nodes were started."""

    number: int = -1
    restarts: int = 0
    """How many failures there were before."""
    regrouping: bool = False
    """The ranks are ended because other nodes have come."""
    final: str = ""
    """Why there will be no restart."""
    lost: str = ""
    """Which node is gone."""


class JobSupervisor:
    """Directs the group of this command, and the nodes that come to the meeting point if there is one."""

    def __init__(
        self,
        config: LaunchConfig,
        loop: Loop,
        group: WorkerGroup,
        place: Callable[[int, int, Sequence[int]], list[NodeAssignment]],
        admission: Admission | None = None,
    ) -> None:
        """``place(attempt, restarts, ranks of each node)`` is where the ranks of each node are told that they are."""
        self._config = config
        self._loop = loop
        self._group = group
        self._place = place
        self._meeting_point = admission
        self._others: list[RemoteNode] = []
        self._attempt = _Attempt()
        self._last_resort: Timer | None = None

    def run(self) -> int:
        """Until the last attempt is over. Returns the exit code."""
        return self._group.run(self._begin, self._stopped, self._look_for_the_end)

    def _begin(self) -> None:
        if self._meeting_point:
            self._meeting_point.open(
                self._group.log, lambda: self._start(0), lambda text: self._group.finish(1, text), self._regroup_soon
            )  # fmt: skip
        else:
            self._start(0)

    def _take_in(self, nodes: Sequence[RemoteNode]) -> None:
        for node in nodes:
            node.on_stop, node.on_empty, node.on_lost = self._stopped_by, self._look_for_the_end, self._lost
        self._others += nodes

    def _start(self, restarts: int) -> None:
        number = self._attempt.number + 1
        self._attempt = _Attempt(number, restarts)
        if self._meeting_point:
            self._take_in(self._meeting_point.admitted())
        local = [self._config.nproc_per_node] * len(self._group.nodes)
        places = self._place(number, restarts, [*local, *(node.request.nproc_per_node for node in self._others)])
        for node, place in zip(self._others, places[len(local) :], strict=True):
            node.start(place)
        self._group.start(places[: len(local)])

    def _regroup_soon(self) -> None:
        """A node has come to the job that runs; others that come at the same time are taken in together."""
        self._loop.after(_MORE_NODES_S, self._regroup)

    def _regroup(self) -> None:
        """End the ranks, unless the attempt is ending anyway: the next one has all nodes that wait."""
        running = not self._group.is_over and all(not node.is_empty for node in self._others)
        waiting = self._meeting_point.waiting if self._meeting_point else ()
        if not running or not waiting or self._last_resort:
            return
        self._attempt.regrouping = True
        names = ", ".join(str(node.request) for node in waiting)
        reason = f"the job starts again in a larger world, with {names}"
        stop = Stop(signal.SIGTERM, self._config.shutdown_timeout_s, reason, regroup=True)
        self._group.stop(stop)
        self._pass_on(stop, self._others)

    # -- ending -------------------------------------------------------------------------------------------------------

    def _stopped(self, stop: Stop) -> None:
        """The ranks of this command are being ended."""
        self._pass_on(stop, self._others)
        if self._attempt.number < 0:
            if self._meeting_point:
                self._meeting_point.close(stop.reason)
            self._group.finish(1)

    def _stopped_by(self, source: RemoteNode, stop: Stop) -> None:
        self._group.stop(stop)
        self._pass_on(stop, [node for node in self._others if node is not source])

    def _pass_on(self, stop: Stop, nodes: Sequence[RemoteNode]) -> None:
        if stop.final:
            self._attempt.final = self._attempt.final or stop.reason
        for node in nodes:
            node.stop(stop)
        if self._last_resort:
            self._last_resort.cancel()
        self._last_resort = self._loop.after(0.0 if stop.at_once else stop.grace_s + NODE_PATIENCE_S, self._leave_nodes)

    def _leave_nodes(self) -> None:
        """Those that should have ended by now; what they hear last is the end of their connection."""
        for node in [node for node in self._others if not node.is_empty]:
            self._lost(node)
            node.leave()

    def _lost(self, node: RemoteNode) -> None:
        self._others.remove(node)
        if not node.is_empty:
            reason = f"{node.request} is gone: its launcher was killed, or the connection to it broke"
            self._attempt.lost = self._attempt.lost or reason
            if not self._attempt.final:
                self._group.log.say(NODE_GONE, reason=reason)
            stop = Stop(signal.SIGTERM, self._config.shutdown_timeout_s, reason)
            if not self._last_resort:
                self._group.stop(stop)
                self._pass_on(stop, self._others)
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        if not self._group.is_over or not all(node.is_empty for node in self._others) or self._attempt.number < 0:
            return
        if self._last_resort:
            self._last_resort.cancel()
            self._last_resort = None
        attempt = self._attempt
        failed = self._group.failed or attempt.lost or any(node.failed for node in self._others)
        if attempt.final:
            self._finish(1, attempt.final)
        elif attempt.regrouping and not attempt.lost:
            self._start(attempt.restarts)
        elif not failed:
            self._finish(0, "")
        elif attempt.restarts == self._config.max_restarts:
            self._finish(1, self._first_cause())
        elif len(self._group.nodes) + len(self._others) < self._config.min_nodes:
            left = len(self._group.nodes) + len(self._others)
            self._finish(1, f"{attempt.lost}; no restart with {left} of {self._config.min_nodes} nodes (--nnodes)")
        else:
            self._start(attempt.restarts + 1)

    def _first_cause(self) -> str:
        if self._attempt.lost:
            return self._attempt.lost
        causes = [self._group.root_cause, *(node.failure for node in self._others)]
        failures: list[ProcessFailure] = [cause for cause in causes if cause]
        return root_cause(failures).sentence if failures else ""

    def _finish(self, exit_code: int, reason: str) -> None:
        for node in self._others:
            node.finish(exit_code, reason)
        if self._meeting_point:
            self._meeting_point.close(reason, exit_code)
        self._group.finish(exit_code, reason)
