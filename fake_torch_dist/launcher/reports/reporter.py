"""What the launcher says of its ranks: where they are, how they failed, and its last words."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog
from fake_torch_dist.launcher.reports.parent_error_file import pass_signal_to_parent, pass_to_parent
from fake_torch_dist.launcher.reports.report import child_failed_text, entry_name, signalled_text, without_files
from fake_torch_dist.launcher.workers.rank_environment import NodeAssignment

PARENT_FILE_VARIABLE = "TORCHELASTIC_ERROR_FILE"
"""Where whoever started the launcher wants to have the root cause."""


class Reporter:
    """Lines of the log, and texts that torchrun prints as tracebacks (``say``)."""

    def __init__(
        self, config: LaunchConfig, environment: Mapping[str, str], log: LauncherLog, say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._parent_file = environment.get(PARENT_FILE_VARIABLE)
        self._log = log
        self._say = say

    def starting(self) -> None:
        """Before the nodes meet."""
        config = self._config
        by_name = config.kind is EntryKind.RUN_PATH
        name = entry_name(config.kind, config.entrypoint) if by_name else os.path.basename(self._binary())
        self._log.say(log_messages.STARTING_WORKERS, role=config.role, entrypoint=name)

    def placed(self, places: Sequence[NodeAssignment], directories: Sequence[Path | None]) -> None:
        """The nodes have met; each of ours is told its place, and has its directory for log files."""
        if not self._log.enabled(log_messages.RENDEZVOUS_COMPLETE):
            return
        role, count = self._config.role, self._config.nproc_per_node
        for place, directory in zip(places, directories, strict=True):
            ranks, worlds = [place.first_rank + i for i in range(count)], [place.world_size] * count
            self._log.say(
                log_messages.RENDEZVOUS_COMPLETE, role=role, restart_count=place.restarts, master_addr=place.master_addr,
                master_port=place.master_port, group_rank=place.group_rank, group_world_size=place.num_nodes,
                local_ranks=list(range(count)), role_ranks=ranks, global_ranks=ranks, role_world_sizes=worlds,
                global_world_sizes=worlds,
            )  # fmt: skip
            self._log.say(log_messages.STARTING_GROUP, role=role)
            if directory and place.attempt == 0:
                self._log.say(log_messages.LOG_DIRECTORY, path=directory)

    def failed(self, failure: ProcessFailure) -> None:
        """The root cause of an attempt that is over."""
        config, fields = self._config, {"exitcode": failure.exitcode, "local_rank": failure.local_rank}
        if config.kind is EntryKind.RUN_PATH:
            self._log.say(
                log_messages.FAILED_FUNCTION, pid=failure.pid, function=entry_name(config.kind, config.entrypoint),
                start_method=config.start_method or "spawn", **fields,
            )  # fmt: skip
            return
        self._log.say(log_messages.FAILED, pid=failure.pid, binary=self._binary(), **fields)

    def child_failed(self, failures: Sequence[ProcessFailure], *, kept: bool) -> None:
        """The last attempt's; ``kept``: whether the error files can be looked at later."""
        pass_to_parent(root_cause(failures), self._parent_file, self._log)
        name = entry_name(self._config.kind, self._config.entrypoint, self._config.python)
        self._say(child_failed_text(name, failures if kept else without_files(failures)))

    def signalled(self, number: int) -> None:
        """The launcher was told to end."""
        pass_signal_to_parent(os.getpid(), number, self._parent_file, self._log)
        self._say(signalled_text(os.getpid(), number))

    def _binary(self) -> str:
        config = self._config
        return config.entrypoint if config.kind is EntryKind.PROGRAM else config.python or sys.executable
