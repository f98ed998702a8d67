"""Where each stream of each rank of one attempt goes: to the console, to files, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from .commandline.config import LaunchConfig
from .logs import AttemptLogs, Destination, LogTree, destination
from .node import Node
from .output.prefix import Source
from .ranks.environment import Placement
from .ranks.starting import PIPE

STREAMS: Final = ("stdout", "stderr")


class Routes:
    """Of one attempt, for the nodes that this command runs. Makes the directories; LogDirectoryError if it can't."""

    def __init__(self, config: LaunchConfig, tree: LogTree, nodes: Iterable[Node], attempt: int) -> None:
        self._config = config
        self._logs = {
            node.index: AttemptLogs.create(
                tree.run_directory(node.name if config.emulated else None),
                attempt,
                config.nproc_per_node,
                required=tree.kept,
            )
            for node in nodes
        }

    def source(self, place: Placement, local_rank: int, stream: str) -> Source:
        """How the stream of a rank is called in prefixes."""
        node = place.node if self._config.emulated else ""
        return Source(place.first_rank + local_rank, local_rank, node, stream)

    def targets(self, node: Node) -> list[dict[str, str]]:
        """By local rank, where the agent lets it write: to us, or straight to a file; and its error file."""
        return [self._targets(node, local_rank) for local_rank in range(self._config.nproc_per_node)]

    def _targets(self, node: Node, local_rank: int) -> dict[str, str]:
        targets = {"error_file": self.error_file(node, local_rank)}
        for stream in STREAMS:
            goal = self.destination(node, local_rank, stream)
            read = goal.console or goal.filtered
            targets[stream] = PIPE if read else str(goal.file or os.devnull)
        return targets

    def destination(self, node: Node, local_rank: int, stream: Any) -> Destination:
        """What becomes of a stream."""
        config = self._config
        filters = config.duplicate_stdout_filters if stream == "stdout" else config.duplicate_stderr_filters
        return destination(
            self._logs[node.index], local_rank, stream, redirects=config.redirects, tee=config.tee, filters=filters,
            local_ranks_filter=config.local_ranks_filter, prefix=config.prefix,
        )  # fmt: skip

    def error_file(self, node: Node, local_rank: int) -> str:
        """Empty if there is none."""
        return self._logs[node.index].error_file(local_rank)

    def filtered_file(self, node: Node, stream: Any) -> Path | None:
        """Of the lines that --duplicate-*-filters choose."""
        return self._logs[node.index].filtered_file(stream)
