"""Failures as the launcher observes them, for the tests of what it says about them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from fake_torch_dist.launcher.failures import ProcessFailure
from fake_torch_dist.launcher.reports.log_messages import LauncherLog

MOMENT_S = time.mktime((2026, 11, 21, 20, 48, 22, 0, 0, -1))
HINT = "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"


def failed(rank: int, exitcode: int = 1, after_s: float = 0.0, **given: Any) -> ProcessFailure:
    known: dict[str, Any] = {"node": "localhost", "error_file": None, "local_rank": rank} | given
    return ProcessFailure.observed(
        rank=rank, pid=12608 + rank, exitcode=exitcode, observed_s=MOMENT_S + after_s, **known
    )


def recorded(path: Path, message: str = "ValueError: boom", *, at_s: float = MOMENT_S) -> str:
    """An error file as torch and we write it, at that moment."""
    extra = {"py_callstack": f"Traceback (most recent call last):\n  File\n{message}\n", "timestamp": str(int(at_s))}
    path.write_text(json.dumps({"message": {"message": message, "extraInfo": extra}}))
    os.utime(path, (at_s, at_s))
    return str(path)


def lines_of(log: list[str]) -> list[str]:
    return [line.split("] ", 1)[1] for text in log for line in text.splitlines()]


def log_to(written: list[str]) -> LauncherLog:
    return LauncherLog(written.append)
