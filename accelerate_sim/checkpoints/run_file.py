"""run.json: the beginning of a run in its directory, and its end once it is over.

A run has begun if this file exists. Both parts have a checksum of their own, because no manifest covers the file, and
the next run and the bytes that are cut depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from accelerate_sim.artifacts import atomic, manifest
from accelerate_sim.artifacts.damage import Damaged, checksum_of, conforming
from accelerate_sim.checkpoints.state import Crc32, MetricsLength, RunState, Seconds, Size

NAME = "run.json"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    clock_s: Seconds
    metrics_bytes: Size
    """Length of metrics.jsonl in bytes."""
    metrics_crc32: Crc32

    @property
    def metrics(self) -> MetricsLength:
        return MetricsLength(self.metrics_bytes, self.metrics_crc32)


def write(directory: Path, begun: RunState, end: RunEnd | None = None) -> None:
    """Write the file. ``begun`` is the state before the first step. Raises OSError."""
    document = begun.document() | {"format": FORMAT}
    document["sha256"] = checksum_of(document)
    ended = asdict(end) if end else None
    document["end"] = ended and ended | {"sha256": checksum_of(document | {"end": ended})}
    atomic.write_file(directory / NAME, json.dumps(document, indent=2).encode() + b"\n")


def read(directory: Path) -> tuple[RunState, RunEnd | None]:
    """The beginning of the run, and its end if it is over; raises :class:`Damaged`."""
    document = manifest.read_json(directory / NAME)
    if document.get("format") != FORMAT:
        raise Damaged(f"has a {NAME} of another version of this program, or of another program")
    ended = document.pop("end", None)
    _check(document)
    end = None if ended is None else _end(ended, document)
    fields = {key: value for key, value in document.items() if key not in ("format", "sha256")}
    begun = RunState.of(fields, NAME)
    if begun != begun.beginning():
        raise Damaged(f"has a {NAME} that is not of the beginning of a run")
    if end and (end.clock_s < begun.clock_s or end.metrics_bytes < begun.metrics_bytes):
        raise Damaged(f"has a {NAME} whose end is before its beginning")
    return begun, end


def _end(ended: object, document: Mapping[str, Any]) -> RunEnd:
    if not isinstance(ended, dict):
        raise Damaged(f"has a {NAME} whose end is no JSON object")
    figures = {key: value for key, value in ended.items() if key != "sha256"}
    if ended.get("sha256") != checksum_of({**document, "end": figures}):
        raise Damaged(f"has a {NAME} whose end was changed: it does not agree with its checksum")
    return conforming(_reader(), figures, NAME)


def _check(document: Mapping[str, Any]) -> None:
    if document.get("sha256") != checksum_of({key: value for key, value in document.items() if key != "sha256"}):
        raise Damaged(f"has a {NAME} that was changed: it does not agree with its checksum")


@cache
def _reader() -> TypeAdapter[RunEnd]:
    return TypeAdapter(RunEnd)
