"""The limit of open descriptors, raised for a rank that may be connected to all others."""

from __future__ import annotations

import resource
from typing import Final

_PER_RANK: Final = 2
"""Descriptors that a rank can need: both ranks may have connected, or one connects while a pidfd is watched."""
_OTHERS: Final = 128
"""Descriptors for everything else that a process has open."""


def allow_descriptors(num_ranks: int) -> None:
    """Raise this process's soft limit to what connections to all ranks need, or as far as it may."""
    count = _PER_RANK * num_ranks + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
