"""``LineTruth``: log_truth.jsonl, which has a JSON object for each line of a process, before the line is written.

Each process has a file of its own, so that nothing is lost or mixed on any file system, also when a process is killed.
The file of rank 0 is log_truth.jsonl; those of others have their rank in the name.
"""

from __future__ import annotations

import json
from pathlib import Path

from accelerate_sim.hazards.appended_file import AppendedFile
from accelerate_sim.hazards.hazard import LoggingProcess, Passage

FILE_NAME = "log_truth{}.jsonl"


class LineTruth:
    """Appends the truth of lines; ``directory`` is the output directory."""

    def __init__(self, process: LoggingProcess, directory: Path) -> None:
        self._file = AppendedFile(directory / FILE_NAME.format(process.suffix))

    def write(self, passage: Passage) -> None:
        """Write what was intended and what was done."""
        line = passage.line
        entry = {
            "event": "line", "simulated": True, "number": line.number, "rank": line.rank, "stream": line.stream,
            "time": line.time.isoformat(timespec="milliseconds"), "step": line.step, "line": line.text,
            "done": passage.done,
        }  # fmt: skip
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()
