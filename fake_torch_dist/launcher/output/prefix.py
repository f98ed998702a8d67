"""Which rank a line is from, and how that is written before it."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TEMPLATE_VARIABLE: Final = "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE"


@dataclass(frozen=True, slots=True)
class Source:
    """One stream of one rank. ``node``: host name, empty where there is one node only."""

    rank: int
    local_rank: int
    node: str
    stream: str


def prefix_of(source: Source, role: str, environment: Mapping[str, str]) -> bytes:
    """``[default3]:``, with several nodes ``[node1:default3]:``, or what TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE says."""
    template = (
        environment.get(TEMPLATE_VARIABLE) or ("[${node}:" if source.node else "[") + "${role_name}${local_rank}]:"
    )
    filled = string.Template(template).safe_substitute(
        role_name=role, rank=source.rank, local_rank=source.local_rank, node=source.node
    )
    return os.fsencode(filled)
