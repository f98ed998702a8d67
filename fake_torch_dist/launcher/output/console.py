"""The launcher's own standard output and error, as far as ranks may have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Console:
    """Where the output of ranks goes that is neither redirected nor filtered out."""

    is_one: bool
    """Standard output and standard error are the same file."""
    sizes: Mapping[str, tuple[int, int]]
    """Columns and rows by stream, ``stdout`` and ``stderr``, of those that are terminals."""
