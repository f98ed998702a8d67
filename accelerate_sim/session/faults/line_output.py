"""``LineOutput``: writes the lines of a strike where they belong: a stream of the rank, or the log of a kernel."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from accelerate_sim.config.host_names import host_name
from accelerate_sim.faults.consequences import Line

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

MACHINE_LOGS = {"kernel": "kern.log", "kubernetes": "kubernetes.log", "instance": "instance.log"}
"""Files of lines that are a machine's and no rank's, in its own directory."""


class LineOutput:
    """Writes lines of the moment ``second`` of a clock that began at ``start``."""

    def __init__(self, session: Session, start: datetime, second: float) -> None:
        self._session = session
        self._moment = start + timedelta(seconds=second)

    def write(self, lines: Sequence[Line]) -> None:
        """Write the lines of this process's rank, or of all ranks; the main process writes those of machines."""
        placement = self._session.placement
        for line in sorted(lines, key=lambda line: line.after_s):
            if line.stream in MACHINE_LOGS:
                if self._session.is_main_process:
                    self._to_machine(line)
            elif placement is None or placement.rank == line.rank:
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
            stream.write(text + "\n")
            stream.flush()

    def _to_machine(self, line: Line) -> None:
        """Append a line to a log of the rank's machine in the output directory, if there is one."""
        active, directory = self._session.active, self._session.outputs.directory
        if active is None or directory is None:
            return
        from accelerate_sim.artifacts.atomic import explained

        host = host_name(active.run.config.cluster.host, line.rank // active.run.layout.gpus_per_node)
        path = directory / "nodes" / host / MACHINE_LOGS[line.stream]
        when = self._moment + timedelta(seconds=line.after_s)
        head = f"{when:%b} {when.day:2d} {when:%H:%M:%S} {host} kernel: " if line.stream == "kernel" else ""
        with explained(path, "What it holds is whole."):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{head}{line.text}\n")
