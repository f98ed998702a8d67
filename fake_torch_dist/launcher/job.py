"""Supervises a job from its first attempt to its end: starts all nodes, ends them together, restarts them.

The first rank that fails ends all others, and all ranks start again as long as restarts are left. Nodes that have
commands of their own are controlled by messages; one that is gone counts as failed, and the next attempt does without
it if --nnodes allows. A node that joins a running job, at a c10d endpoint with --nnodes MIN:MAX, is taken in: the ranks
are ended and start again with it, which does not count as a restart.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.protocol.stop import StopJob
from fake_torch_dist.launcher.reports.log_messages import NODE_GONE, NODES_AWAITED
from fake_torch_dist.launcher.reports.report import gone_for_good, too_few_nodes
from fake_torch_dist.launcher.shutdown import AGENT_PATIENCE_S
from fake_torch_dist.launcher.worker_group import WorkerGroup

if TYPE_CHECKING:
    from fake_torch_dist.launcher.hosts.admission import Admission
    from fake_torch_dist.launcher.hosts.remote_node import RemoteNode

NODE_PATIENCE_S: Final = 2 * AGENT_PATIENCE_S
"""Time after the grace period in which another node has to report that nothing is left there."""
_MORE_NODES_S: Final = 0.1
"""Time between the arrival of a node at a running job and the end of its ranks: torchrun's monitor interval."""


@dataclass
class _JobAttempt:
    """One start of all nodes, and the events since."""

    number: int = -1
    restarts: int = 0
    """Number of earlier starts that followed a failure."""
    regrouping: bool = False
    """The ranks are ended because other nodes have joined."""
    final: str = ""
    """Reason why there will be no restart; empty if there may be one."""
    lost: str = ""
    """Text about the node that is gone; empty if none is."""


class JobSupervisor:
    """Directs the worker group of this command, and the nodes that have joined the job if it admits any."""

    def __init__(
        self,
        config: LaunchConfig,
        loop: EventLoop,
        group: WorkerGroup,
        assign: Callable[[int, int, Sequence[int]], list[NodeAssignment]],
        may_restart: Callable[[], bool],
        admission: Admission | None = None,
    ) -> None:
        """``assign(attempt, restarts, nproc_per_node of each node)`` returns the assignments of the nodes.

        ``may_restart`` returns False if a rank has recorded in the store that the job is over, whatever restarts are
        left.
        """
        self._config = config
        self._loop = loop
        self._group = group
        self._assign = assign
        self._may_restart = may_restart
        self._admission = admission
        self._others: list[RemoteNode] = []
        self._attempt = _JobAttempt()
        self._last_resort: Timer | None = None
        self._shortage: Timer | None = None
        """Limits the wait for nodes that the next attempt needs."""

    def run(self) -> int:
        """Run the job until its last attempt is over. Returns the exit code."""
        return self._group.run(self._begin, self._on_stop, self._finish_if_over)

    def _begin(self) -> None:
        if self._admission:
            self._admission.open(
                self._group.log, lambda: self._start(0), lambda text: self._group.finish(1, text), self._regroup_soon
            )  # fmt: skip
        else:
            self._start(0)

    def _take_in(self, nodes: Sequence[RemoteNode]) -> None:
        for node in nodes:
            node.listen(self._on_remote_stop, self._finish_if_over, self._on_lost)
        self._others += nodes

    def _start(self, restarts: int) -> None:
        number = self._attempt.number + 1
        self._attempt = _JobAttempt(number, restarts)
        if self._admission:
            self._take_in(self._admission.admitted())
        local = [self._config.nproc_per_node] * len(self._group.nodes)
        assignments = self._assign(number, restarts, [*local, *(node.request.nproc_per_node for node in self._others)])
        for node, assignment in zip(self._others, assignments[len(local) :], strict=True):
            node.start(assignment)
        self._group.start(assignments[: len(local)])

    def _regroup_soon(self) -> None:
        """Regroup after a moment, so that nodes which arrive at the same time are taken in together."""
        if not self._shortage:
            self._loop.after(_MORE_NODES_S, self._regroup)
        elif not self._is_short:
            self._shortage.cancel()
            self._shortage = None
            self._start(self._attempt.restarts + 1)

    def _regroup(self) -> None:
        """End the ranks, unless the attempt is ending anyway: the next one includes all nodes that wait."""
        running = not self._group.is_over and all(not node.is_empty for node in self._others)
        waiting = self._admission.waiting if self._admission else ()
        if not running or not waiting or self._last_resort:
            return
        self._attempt.regrouping = True
        names = ", ".join(str(node.request) for node in waiting)
        reason = f"the job starts again in a larger world, with {names}"
        stop = StopJob(signal.SIGTERM, self._config.shutdown_timeout_s, reason, regroup=True)
        self._group.stop(stop)
        self._pass_on(stop, self._others)

    # -- ending -------------------------------------------------------------------------------------------------------

    def _on_stop(self, stop: StopJob) -> None:
        """Report to the other nodes that the ranks of this command are being ended."""
        self._pass_on(stop, self._others)
        if self._attempt.number < 0:
            if self._admission:
                self._admission.close(stop.reason)
            self._group.finish(1)

    def _on_remote_stop(self, source: RemoteNode, stop: StopJob) -> None:
        self._group.stop(stop)
        self._pass_on(stop, [node for node in self._others if node is not source])

    def _pass_on(self, stop: StopJob, nodes: Sequence[RemoteNode]) -> None:
        if stop.final:
            self._attempt.final = self._attempt.final or stop.reason
            if self._shortage:  # no rank is left whose end would be waited for
                self._shortage.cancel()
                self._loop.after(0, self._finish_if_over)
        for node in nodes:
            node.stop(stop)
        if self._last_resort:
            self._last_resort.cancel()
        self._last_resort = self._loop.after(0.0 if stop.at_once else stop.grace_s + NODE_PATIENCE_S, self._leave_nodes)

    def _leave_nodes(self) -> None:
        """Disconnect the nodes that have not ended in time; a launcher there ends its ranks when it is disconnected."""
        for node in [node for node in self._others if not node.is_empty]:
            self._on_lost(node)
            node.leave()

    def _on_lost(self, node: RemoteNode) -> None:
        self._others.remove(node)
        if not node.is_empty:
            reason = f"{node.request} is gone: its launcher was killed, or the connection to it broke"
            self._attempt.lost = self._attempt.lost or reason
            if not self._attempt.final:
                self._group.log.emit(NODE_GONE, reason=reason)
            stop = StopJob(signal.SIGTERM, self._config.shutdown_timeout_s, reason)
            if not self._last_resort:
                self._group.stop(stop)
                self._pass_on(stop, self._others)
        self._finish_if_over()

    def _finish_if_over(self) -> None:
        if not self._group.is_over or not all(node.is_empty for node in self._others) or self._attempt.number < 0:
            return
        if self._last_resort:
            self._last_resort.cancel()
            self._last_resort = None
        attempt = self._attempt
        if gone := self._group.gone_for_good:
            attempt.lost = attempt.lost or gone_for_good(gone)
        failed = self._group.failed or attempt.lost or any(node.failed for node in self._others)
        if attempt.final:
            self._finish(1, attempt.final)
        elif attempt.regrouping and not attempt.lost:
            self._start(attempt.restarts)
        elif not failed:
            self._finish(0, "")
        elif attempt.restarts == self._config.max_restarts or not self._may_restart():
            self._finish(1, self._first_cause())
        elif self._is_short:
            self._wait_for_nodes()
        else:
            self._start(attempt.restarts + 1)

    @property
    def _count(self) -> int:
        """Number of nodes that are there, those included that wait for the next attempt."""
        here = len(self._group.nodes) - len(self._group.gone_for_good)
        return here + len(self._others) + len(self._admission.waiting if self._admission else ())

    @property
    def _is_short(self) -> bool:
        return self._count < self._config.min_nodes

    def _wait_for_nodes(self) -> None:
        """Start again when enough nodes have come back, at an endpoint that admits them; else the job is over."""
        if self._shortage:
            return
        wait_s = self._admission.wait_s if self._admission else 0.0
        if wait_s:
            self._group.log.emit(NODES_AWAITED, count=self._count, nnodes=self._config.min_nodes, wait_s=wait_s)
        self._shortage = self._loop.after(wait_s, self._end_short)

    def _end_short(self) -> None:
        count, needed = self._count, self._config.min_nodes
        self._finish(1, too_few_nodes(self._attempt.lost, count, needed))

    def _first_cause(self) -> str:
        if self._attempt.lost:
            return self._attempt.lost
        causes = [self._group.root_cause, *(node.failure for node in self._others)]
        failures: list[ProcessFailure] = [cause for cause in causes if cause]
        return root_cause(failures).sentence if failures else ""

    def _finish(self, exit_code: int, reason: str) -> None:
        for node in self._others:
            node.finish(exit_code, reason)
        if self._admission:
            self._admission.close(reason, exit_code)
        self._group.finish(exit_code, reason)
