"""The line that faults.jsonl has in a run without faults, so that the absence of alarms can be checked, too."""

from __future__ import annotations

from pathlib import Path

from accelerate_sim.artifacts.atomic import explained

FILE_NAME = "faults.jsonl"
LINE = '{"event":"faults","count":0,"simulated":true,"schema":1}\n'


def names_faults(directory: Path) -> bool:
    """True if the file of a session names faults."""
    path = directory / FILE_NAME
    return path.exists() and path.read_bytes() not in (b"", LINE.encode())


def end_absence(directory: Path) -> None:
    """Take the line away, as a fault was asked for in a session that began without any."""
    path = directory / FILE_NAME
    if path.exists() and path.read_bytes() == LINE.encode():
        path.unlink()


def begin_truth(directory: Path, *, plays: bool) -> None:
    """Begin the file of a new session: empty if faults are played in it, else with the line. Raises OutputError."""
    path = directory / FILE_NAME
    with explained(path, "Nothing was played: put things right and begin again."):
        if plays:
            path.unlink(missing_ok=True)
        else:
            path.write_text(LINE, encoding="utf-8")
