"""One start of the ranks of a worker group: their assignments and routes, and the failures since."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.local_node import LocalNode
from fake_torch_dist.launcher.logs import Destination
from fake_torch_dist.launcher.output.prefix import Source
from fake_torch_dist.launcher.protocol.agent_messages import RankExited, RankStarted
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.routes import Routes


@dataclass
class GroupAttempt:
    """State of one attempt."""

    assignments: Mapping[int, NodeAssignment]
    """By the index of the node."""
    routes: Routes
    host: Callable[[], str]
    """Returns the name of this host in reports; a look-up that may take time."""
    is_over: bool = False
    """No process and no output is left."""
    failures: list[ProcessFailure] = field(default_factory=list)
    start_failure: str = ""
    """Reason why a rank could not be started; empty if all were."""

    @property
    def root_cause(self) -> ProcessFailure | None:
        """Root cause of the failures; None if no rank has failed."""
        return root_cause(self.failures) if self.failures else None

    def streams(self, node: LocalNode, started: RankStarted) -> Iterator[tuple[Source, Destination, Path | None]]:
        """Yield source, destination and filtered log of each stream of a rank that the launcher reads."""
        for stream in started.streams:
            source = self.routes.source(self.assignments[node.index], started.local_rank, stream)
            goal = self.routes.destination(node, started.local_rank, stream)
            yield source, goal, self.routes.filtered_file(node, stream)

    def failure(self, node: LocalNode, exited: RankExited) -> ProcessFailure:
        """Return the failure of a rank that has ended."""
        return ProcessFailure.observed(
            local_rank=exited.local_rank,
            rank=self.assignments[node.index].first_rank + exited.local_rank,
            node=node.name or self.host(),
            pid=exited.pid,
            exitcode=exited.exitcode,
            observed_s=exited.time_s,
            error_file=self.routes.error_file(node, exited.local_rank),
            told_to_stop=exited.was_signalled,
        )

    def failure_without_agent(self, node: LocalNode, local_rank: int, pid: int) -> ProcessFailure:
        """Return the failure of a rank that was killed after its agent."""
        return ProcessFailure.observed(
            local_rank=local_rank,
            rank=self.assignments[node.index].first_rank + local_rank,
            node=node.name or self.host(),
            pid=pid,
            exitcode=-signal.SIGKILL,
            observed_s=time.time(),
            error_file=None,
        )
