"""The prefix of a line: names the rank that wrote it."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping
from dataclasses import dataclass

from fake_torch_dist.launcher.environment_names import LOG_LINE_PREFIX_TEMPLATE


@dataclass(frozen=True, slots=True)
class Source:
    """One stream of one rank. ``node`` is a host name, empty if there is one node only."""

    rank: int
    local_rank: int
    node: str
    stream: str


def prefix_of(source: Source, role: str, environment: Mapping[str, str]) -> bytes:
    """Return ``[default3]:``, with several nodes ``[node1:default3]:``, or the filled template of the environment."""
    template = (
        environment.get(LOG_LINE_PREFIX_TEMPLATE)
        or ("[${node}:" if source.node else "[") + "${role_name}${local_rank}]:"
    )
    filled = string.Template(template).safe_substitute(
        role_name=role, rank=source.rank, local_rank=source.local_rank, node=source.node
    )
    return os.fsencode(filled)
