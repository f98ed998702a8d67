"""Decides for one attempt where each stream of each rank goes: to the console, to files, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.local_node import LocalNode
from fake_torch_dist.launcher.logs import AttemptLogs, Destination, LogTree, destination
from fake_torch_dist.launcher.output.console import Console
from fake_torch_dist.launcher.output.prefix import Source
from fake_torch_dist.launcher.protocol.agent_messages import STREAMS, RankTargets, Stream, StreamTarget, TargetKind
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment


class Routes:
    """Routes of one attempt, for the nodes that this command runs.

    The constructor makes the log directories. It raises LogDirectoryError if they are required and cannot be made.
    """

    def __init__(
        self, config: LaunchConfig, tree: LogTree, nodes: Sequence[LocalNode], attempt: int, console: Console
    ) -> None:
        self._config = config
        self._console = console
        self._one_rank = len(nodes) * config.nproc_per_node == 1
        self._logs = {
            node.index: AttemptLogs.create(
                tree.run_directory(node.name if config.emulated else None),
                attempt,
                config.nproc_per_node,
                required=tree.kept,
            )
            for node in nodes
        }

    def source(self, assignment: NodeAssignment, local_rank: int, stream: Stream) -> Source:
        """Return the names that prefixes of the stream's lines are made of."""
        node = assignment.node if self._config.emulated else ""
        return Source(assignment.first_rank + local_rank, local_rank, node, stream)

    def targets(self, node: LocalNode, prefix_columns: Callable[[int, Stream], int]) -> tuple[RankTargets, ...]:
        """Return the standard streams and error files of the node's ranks, by local rank.

        ``prefix_columns(local_rank, stream)`` is the width of the prefix of the stream's lines, in columns.
        """
        return tuple(
            self._targets(node, local_rank, prefix_columns) for local_rank in range(self._config.nproc_per_node)
        )

    def _targets(self, node: LocalNode, local_rank: int, prefix_columns: Callable[[int, Stream], int]) -> RankTargets:
        out, err = (
            self._target(node, local_rank, stream, partial(prefix_columns, local_rank, stream)) for stream in STREAMS
        )
        return RankTargets(out, err, self.error_file(node, local_rank))

    def _target(
        self, node: LocalNode, local_rank: int, stream: Stream, prefix_columns: Callable[[], int]
    ) -> StreamTarget:
        goal = self.destination(node, local_rank, stream)
        if not (goal.console or goal.filtered):
            return StreamTarget(TargetKind.FILE, str(goal.file or os.devnull))
        if self._is_handed_on(goal):
            return StreamTarget(TargetKind.INHERITED)
        if stream == "stderr" and self.are_one(node, local_rank):
            return StreamTarget(TargetKind.AS_STDOUT)
        if stream in self._console.sizes and _is_shown_only(goal):
            columns, rows = self._console.sizes[stream]
            taken = prefix_columns() if goal.prefix else 0
            return StreamTarget(TargetKind.TERMINAL, columns=max(columns - taken, 1), rows=rows)
        return StreamTarget(TargetKind.PIPE)

    def hands_on(self, node: LocalNode, stream: Stream) -> bool:
        """Return whether the job's only rank gets the launcher's own descriptor, and no pipe."""
        return self._is_handed_on(self.destination(node, 0, stream))

    def _is_handed_on(self, goal: Destination) -> bool:
        return self._one_rank and _is_shown_only(goal) and not goal.prefix and not self._config.dedupe

    def are_one(self, node: LocalNode, local_rank: int) -> bool:
        """Return whether both streams end in the same file: one pipe for both keeps the order of their lines."""
        out, err = (self.destination(node, local_rank, stream) for stream in STREAMS)
        return self._console.is_one and _is_shown_only(out) and _is_shown_only(err) and out.prefix == err.prefix

    def destination(self, node: LocalNode, local_rank: int, stream: Stream) -> Destination:
        """Return the console and files that a stream goes to."""
        config = self._config
        filters = config.duplicate_stdout_filters if stream == "stdout" else config.duplicate_stderr_filters
        return destination(
            self._logs[node.index], local_rank, stream, redirects=config.redirects, tee=config.tee, filters=filters,
            local_ranks_filter=config.local_ranks_filter, prefix=config.prefix,
        )  # fmt: skip

    def error_file(self, node: LocalNode, local_rank: int) -> str:
        """Path of a rank's error file; empty if it has none."""
        return self._logs[node.index].error_file(local_rank)

    def filtered_file(self, node: LocalNode, stream: Stream) -> Path | None:
        """Path of the log of the lines that --duplicate-*-filters choose; None if there are no log files."""
        return self._logs[node.index].filtered_file(stream)


def _is_shown_only(goal: Destination) -> bool:
    """Return whether the stream goes to the console and to no file."""
    return goal.console and not goal.file and not goal.filtered
