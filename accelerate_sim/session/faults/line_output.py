"""``LineOutput``: writes the lines of a strike where they belong: a stream of the rank, or a log of its machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from accelerate_sim.config.host_names import host_name
from accelerate_sim.faults.consequences import FaultLine

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

MACHINE_LOGS = {"kernel": "kern.log", "syslog": "syslog", "kubernetes": "kubernetes.log", "instance": "instance.log"}
"""Names of the logs of a machine, by stream."""
DATED = ("kern.log", "syslog")
"""Logs whose lines begin with their time."""


class LineOutput:
    """Writes lines of the moment ``second`` of a clock that began at ``start``."""

    def __init__(self, session: Session, start: datetime, second: float) -> None:
        self._session = session
        self._moment = start + timedelta(seconds=second)

    def write(self, lines: Sequence[FaultLine]) -> None:
        """Write the lines of this process's ranks; the main process writes those of machines."""
        placement = self._session.placement
        machines = [line for line in lines if line.stream in MACHINE_LOGS]
        if machines and self._session.is_main_process:
            self._to_machines(machines)
        for line in sorted(lines, key=lambda line: line.after_s):
            if line.stream not in MACHINE_LOGS and (placement is None or line.rank in placement.ranks):
                self.write_text(line.text, stdout=line.stream == "stdout")

    def write_text(self, text: str, *, stdout: bool = False) -> None:
        """Write text to standard error, or on a live screen above its bars."""
        screen = self._session.screen
        if stdout or screen.live:
            screen.write(text.split("\n"))
            return
        screen.flush()
        stream: TextIO | None = sys.stderr
        if stream is not None:
            stream.write(screen.named(text) + "\n")
            stream.flush()

    def _to_machines(self, lines: Sequence[FaultLine]) -> None:
        """Add lines to the logs of the ranks' machines in the output directory, if there is one."""
        active, directory = self._session.active, self._session.outputs.directory
        if active is None or directory is None:
            return
        from accelerate_sim.session.faults import machine_log

        logs: dict[Path, list[machine_log.Stamped]] = {}
        for line in lines:
            host = host_name(active.run.config.cluster.host, line.rank // active.run.layout.gpus_per_node)
            when, text = self._moment + timedelta(seconds=line.after_s), line.text
            if self._session.runs.skew:
                when += self._session.runs.skew(line.rank)
            if line.stream == "kernel":
                text = f"{when:%b} {when.day:2d} {when:%H:%M:%S} {host} kernel: {text}"
            logs.setdefault(directory / "nodes" / host / MACHINE_LOGS[line.stream], []).append((when, text))
        for path, stamped in logs.items():
            machine_log.add(path, stamped, dated=path.name in DATED)
