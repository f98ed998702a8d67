"""Names the directory in which the launcher and its ranks start."""

from __future__ import annotations

import os


def working_directory() -> str:
    """Return the working directory for messages; it may have been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return "a directory that has been deleted"
