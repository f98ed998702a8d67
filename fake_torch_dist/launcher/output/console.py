"""Facts about the launcher's own standard output and error that decide what ranks get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Console:
    """Destination of the output of ranks that is neither redirected nor filtered out."""

    is_one: bool
    """Standard output and standard error are the same file."""
    sizes: Mapping[str, tuple[int, int]]
    """Columns and rows of the streams, ``stdout`` and ``stderr``, that are terminals."""
