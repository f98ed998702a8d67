"""``SavedAttemptEnd``: the state of a run whose job was ended by a fault, which its next attempt goes on from.

It holds what a checkpoint does not: the sums of the summary, lost work included, and the length of metrics.jsonl at
the moment of the fault. In an output directory it is attempt.json; without one it stays with the launcher, or in
memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from accelerate_sim.artifacts import atomic, manifest
from accelerate_sim.artifacts.damage import Damaged, checksum_of, conforming
from accelerate_sim.checkpoints.state import (
    CheckpointName,
    Crc32,
    MetricsLength,
    Moment,
    RunNumber,
    Seconds,
    Size,
    Step,
)

NAME = "attempt.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAttemptEnd:
    """The end of an attempt."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    run: RunNumber
    attempt: int
    """Number of the attempt that has ended, from 0."""
    step: Step
    """Steps that the checkpoint holds from which the next attempt goes on; 0: it begins anew."""
    start_time: Moment
    origin_s: Seconds
    metrics_bytes: Size
    metrics_crc32: Crc32
    begin_bytes: Size
    begin_crc32: Crc32
    config: Mapping[str, Any]
    ledger: Mapping[str, Any] = field(default_factory=dict)
    saved: tuple[tuple[CheckpointName, float | None], ...] = ()
    history: Mapping[str, Any] = field(default_factory=dict)
    """The content of the checkpoint's trainer_state.json."""

    @property
    def metrics(self) -> MetricsLength:
        return MetricsLength(self.metrics_bytes, self.metrics_crc32)

    def text(self) -> bytes:
        """The whole state as one JSON object with its checksum."""
        document = json.loads(json.dumps({"simulated": True, **asdict(self)}))
        return json.dumps(document | {"sha256": checksum_of(document)}).encode() + b"\n"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> SavedAttemptEnd:
        """Read the object that ``text`` wrote. Raises Damaged."""
        fields = {key: value for key, value in document.items() if key != "sha256"}
        if document.get("sha256") != checksum_of(fields):
            raise Damaged(f"has an {NAME} that was changed: it does not agree with its checksum")
        return conforming(reader(), {key: value for key, value in fields.items() if key != "simulated"}, NAME)


def write(directory: Path, end: SavedAttemptEnd) -> None:
    """Write the file. Raises OutputError."""
    with atomic.explained(directory / NAME, "What was written before is intact."):
        atomic.write_file(directory / NAME, end.text())


def read(directory: Path) -> SavedAttemptEnd | None:
    """The end of the latest attempt that a fault ended; None if there was none. Raises Damaged."""
    if not (directory / NAME).exists():
        return None
    return SavedAttemptEnd.of(manifest.read_json(directory / NAME))


@cache
def reader() -> TypeAdapter[SavedAttemptEnd]:
    """The validator of a ``SavedAttemptEnd``, which takes milliseconds to build."""
    return TypeAdapter(SavedAttemptEnd)
