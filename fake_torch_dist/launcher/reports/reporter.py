"""Reports of the launcher about its ranks: their start, their failures, and the end of the job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig
from fake_torch_dist.launcher.environment_names import ERROR_FILE
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog
from fake_torch_dist.launcher.reports.parent_error_file import pass_signal_to_parent, pass_to_parent
from fake_torch_dist.launcher.reports.report import (
    child_failed_text,
    entry_name,
    got_signal,
    signalled_text,
    without_files,
)
from fake_torch_dist.launcher.reports.termination_message import write_termination_message


class Reporter:
    """Writes lines to the log, and texts that torchrun prints as tracebacks through ``write``."""

    def __init__(
        self, config: LaunchConfig, environment: Mapping[str, str], log: LauncherLog, write: Callable[[str], None]
    ) -> None:
        self._config = config
        self._parent_file = environment.get(ERROR_FILE)
        self._environment = environment
        self._log = log
        self._write = write

    def starting(self) -> None:
        """Report that the launcher has begun, before the nodes meet."""
        config = self._config
        by_name = config.kind is EntryKind.RUN_PATH
        name = entry_name(config.kind, config.entrypoint) if by_name else os.path.basename(self._binary())
        self._log.emit(log_messages.STARTING_WORKERS, role=config.role, entrypoint=name)

    def assigned(self, assignments: Sequence[NodeAssignment], directories: Sequence[Path | None]) -> None:
        """Report the assignments of this command's nodes, and their directories for log files."""
        if not self._log.enabled(log_messages.RENDEZVOUS_COMPLETE):
            return
        role, count = self._config.role, self._config.nproc_per_node
        for assignment, directory in zip(assignments, directories, strict=True):
            ranks, worlds = [assignment.first_rank + i for i in range(count)], [assignment.world_size] * count
            self._log.emit(
                log_messages.RENDEZVOUS_COMPLETE,
                role=role,
                restart_count=assignment.restarts,
                master_addr=assignment.master_addr,
                master_port=assignment.master_port,
                group_rank=assignment.group_rank,
                group_world_size=assignment.num_nodes,
                local_ranks=list(range(count)),
                role_ranks=ranks,
                global_ranks=ranks,
                role_world_sizes=worlds,
                global_world_sizes=worlds,
            )
            self._log.emit(log_messages.STARTING_GROUP, role=role)
            if directory and assignment.attempt == 0:
                self._log.emit(log_messages.LOG_DIRECTORY, path=directory)

    def failed(self, failure: ProcessFailure) -> None:
        """Report the root cause of an attempt that is over."""
        config, fields = self._config, {"exitcode": failure.exitcode, "local_rank": failure.local_rank}
        if config.kind is EntryKind.RUN_PATH:
            self._log.emit(
                log_messages.FAILED_FUNCTION, pid=failure.pid, function=entry_name(config.kind, config.entrypoint),
                start_method=config.start_method or "spawn", **fields,
            )  # fmt: skip
            return
        self._log.emit(log_messages.FAILED, pid=failure.pid, binary=self._binary(), **fields)

    def child_failed(self, failures: Sequence[ProcessFailure], reason: str, *, kept: bool) -> None:
        """Report the failures of the last attempt; ``kept``: the error files outlive the run.

        ``reason``: what ended the ranks, if that was not one of them; empty otherwise.
        """
        root = root_cause(failures)
        pass_to_parent(root, self._parent_file, self._log)
        self.ended(reason if reason and root.told_to_stop else f"{root.sentence}\n{root.message}")
        name = entry_name(self._config.kind, self._config.entrypoint, self._config.python)
        self._write(child_failed_text(name, failures if kept else without_files(failures), reason))

    def ended(self, reason: str) -> None:
        """Leave the reason of the job's end in a pod's termination message."""
        write_termination_message(reason, self._environment)

    def signalled(self, number: int) -> None:
        """Report that a signal has ended the launcher."""
        pass_signal_to_parent(os.getpid(), number, self._parent_file, self._log)
        self.ended(got_signal(os.getpid(), number))
        self._write(signalled_text(os.getpid(), number))

    def _binary(self) -> str:
        config = self._config
        return config.entrypoint if config.kind is EntryKind.PROGRAM else config.python or sys.executable
