"""Writes the root cause to the error file of the launcher's own parent, for launchers that start launchers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fake_torch_dist.elastic_errors import error_json, write_atomically
from fake_torch_dist.launcher.failures import NOT_AVAILABLE, ProcessFailure
from fake_torch_dist.launcher.reports.log_messages import (
    NO_CODE_IN_TEXT,
    NO_PARENT_ERROR_FILE,
    PARENT_ERROR_FILE_EXISTS,
    PARENT_FILE_UNWRITABLE,
    REPLY_FILE_MALFORMED,
    LauncherLog,
)
from fake_torch_dist.launcher.reports.report import got_signal, signalled_text


def pass_to_parent(root: ProcessFailure, parent_file: str | None, log: LauncherLog) -> None:
    """Copy the root cause's error file, with its exit code, to the file that the launcher's own parent named."""
    if root.error_file == NOT_AVAILABLE or root.malformed:
        return
    if not parent_file:
        log.emit(NO_PARENT_ERROR_FILE, path=root.error_file)
        return
    try:
        data = json.loads(Path(root.error_file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # the file has changed since the rank ended
        log.emit(REPLY_FILE_MALFORMED, path=root.error_file, reason=f"{type(error).__name__}: {error}")
        return
    if isinstance(data["message"], dict):
        data["message"]["errorCode"] = root.exitcode
    else:
        log.emit(NO_CODE_IN_TEXT, path=root.error_file)
    _write_for_parent(parent_file, json.dumps(data), log)


def pass_signal_to_parent(pid: int, signum: int, parent_file: str | None, log: LauncherLog) -> None:
    """Write to the error file of the launcher's own parent that the launcher, process ``pid``, got a signal."""
    if parent_file:
        text = error_json(f"SignalException: {got_signal(pid, signum)}", signalled_text(pid, signum))
        _write_for_parent(parent_file, text, log)


def _write_for_parent(path: str, text: str, log: LauncherLog) -> None:
    try:
        if os.path.isfile(path):
            log.emit(PARENT_ERROR_FILE_EXISTS, path=path, contents=_indented(Path(path)))
        write_atomically(path, text)
    except OSError as error:
        log.emit(PARENT_FILE_UNWRITABLE, path=path, reason=error.strerror)


def _indented(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        contents: Any = json.loads(text)
    except ValueError:
        return text
    return json.dumps(contents, indent=2)
