"""Where each stream of each rank of one attempt goes: to the console, to files, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.local_node import LocalNode
from fake_torch_dist.launcher.logs import AttemptLogs, Destination, LogTree, destination
from fake_torch_dist.launcher.output.console import Console
from fake_torch_dist.launcher.output.prefix import Source
from fake_torch_dist.launcher.workers.rank_environment import NodeAssignment
from fake_torch_dist.launcher.workers.start import AS_STDOUT, INHERITED, PIPE, terminal_of

STREAMS: Final = ("stdout", "stderr")


class Routes:
    """Of one attempt, for the nodes that this command runs. Makes the directories; LogDirectoryError if it can't."""

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

    def source(self, place: NodeAssignment, local_rank: int, stream: str) -> Source:
        """How the stream of a rank is called in prefixes."""
        node = place.node if self._config.emulated else ""
        return Source(place.first_rank + local_rank, local_rank, node, stream)

    def targets(self, node: LocalNode, prefix_columns: Callable[[int, str], int]) -> list[dict[str, str]]:
        """By local rank, what the agent gives it as standard output and error (see ``starting``), and its error file.

        ``prefix_columns(local_rank, stream)``: what the prefix of a line takes of a terminal's width.
        """
        return [self._targets(node, local_rank, prefix_columns) for local_rank in range(self._config.nproc_per_node)]

    def _targets(self, node: LocalNode, local_rank: int, prefix_columns: Callable[[int, str], int]) -> dict[str, str]:
        targets = {"error_file": self.error_file(node, local_rank)}
        for stream in STREAMS:
            goal = self.destination(node, local_rank, stream)
            if not (goal.console or goal.filtered):
                targets[stream] = str(goal.file or os.devnull)
            elif self._is_handed_on(goal):
                targets[stream] = INHERITED
            elif stream == "stderr" and self.are_one(node, local_rank):
                targets[stream] = AS_STDOUT
            elif stream in self._console.sizes and _is_shown_only(goal):
                columns, rows = self._console.sizes[stream]
                taken = prefix_columns(local_rank, stream) if goal.prefix else 0
                targets[stream] = terminal_of(max(columns - taken, 1), rows)
            else:
                targets[stream] = PIPE
        return targets

    def hands_on(self, node: LocalNode, stream: str) -> bool:
        """Whether the only rank has the launcher's own descriptor, and the launcher sees nothing of what it writes."""
        return self._is_handed_on(self.destination(node, 0, stream))

    def _is_handed_on(self, goal: Destination) -> bool:
        return self._one_rank and _is_shown_only(goal) and not goal.prefix and not self._config.dedupe

    def are_one(self, node: LocalNode, local_rank: int) -> bool:
        """Whether both streams end in the same file: one pipe for both keeps the order in which they are written."""
        out, err = (self.destination(node, local_rank, stream) for stream in STREAMS)
        return self._console.is_one and _is_shown_only(out) and _is_shown_only(err) and out.prefix == err.prefix

    def destination(self, node: LocalNode, local_rank: int, stream: Any) -> Destination:
        """What becomes of a stream."""
        config = self._config
        filters = config.duplicate_stdout_filters if stream == "stdout" else config.duplicate_stderr_filters
        return destination(
            self._logs[node.index], local_rank, stream, redirects=config.redirects, tee=config.tee, filters=filters,
            local_ranks_filter=config.local_ranks_filter, prefix=config.prefix,
        )  # fmt: skip

    def error_file(self, node: LocalNode, local_rank: int) -> str:
        """Empty if there is none."""
        return self._logs[node.index].error_file(local_rank)

    def filtered_file(self, node: LocalNode, stream: Any) -> Path | None:
        """Of the lines that --duplicate-*-filters choose."""
        return self._logs[node.index].filtered_file(stream)


def _is_shown_only(goal: Destination) -> bool:
    """Whether the console is all that the stream goes to."""
    return goal.console and not goal.file and not goal.filtered
