"""``RunState``: everything that a new process needs to continue a run between two steps.

The figures of a run are pure functions of its config, so a state is small: the step, the simulated clock, the length of
metrics.jsonl, and the sums of the summary. A state that is read is checked field by field, because its names and sizes
decide which files are deleted, cut and written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from accelerate_sim.artifacts.damage import Damaged, conforming
from accelerate_sim.artifacts.file_image import FileImage, json_image
from accelerate_sim.config.schema import RunConfig

if TYPE_CHECKING:
    from accelerate_sim.sim.run import Run

NAME = "run_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(0|[1-9][0-9]{0,11})")


def step_in_name(name: str) -> int | None:
    """The step in the name of a checkpoint; None for any other name."""
    found = _CHECKPOINT.fullmatch(name)
    return int(found[1]) if found else None


class MetricsLength(NamedTuple):
    """The beginning of metrics.jsonl: its length in bytes and its CRC-32."""

    size_bytes: int = 0
    crc32: int = 0


def _checkpoint_name(name: str) -> str:
    if step_in_name(name) is None:
        raise ValueError
    return name


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


RunNumber = Annotated[int, Field(ge=1, le=10**9)]
Step = Annotated[int, Field(ge=0, le=10**12)]
Seconds = Annotated[float, Field(ge=0.0, le=3.2e11)]
"""Seconds of a clock; the bound keeps dates below the year 9999."""
Size = Annotated[int, Field(ge=0, le=2**62)]
Crc32 = Annotated[int, Field(ge=0, lt=2**32)]
CheckpointName = Annotated[str, AfterValidator(_checkpoint_name)]
Moment = Annotated[str, AfterValidator(_moment)]
"""A time in ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """The state after ``step`` steps with their validations, before their checkpoint is reported."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    run: RunNumber
    """Number of the run in its session."""
    step: Step
    config: Mapping[str, Any]
    start_time: Moment
    """Start of the simulated clock."""
    origin_s: Seconds
    """Simulated second at which the run began."""
    clock_s: Seconds
    metrics_bytes: Size
    """Length of metrics.jsonl in bytes."""
    metrics_crc32: Crc32 = 0
    begin_bytes: Size = 0
    """Length of metrics.jsonl when the run began, in bytes."""
    begin_crc32: Crc32 = 0
    planned: bool = True
    """False for a checkpoint that was saved because a signal ended the process; it takes no simulated time."""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    saved: tuple[tuple[CheckpointName, float | None], ...] = ()
    """Checkpoints that are kept: name and validation loss."""
    attempt: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Number of the attempt, in a run in which faults happen."""

    @property
    def metrics(self) -> MetricsLength:
        return MetricsLength(self.metrics_bytes, self.metrics_crc32)

    def beginning(self) -> RunState:
        """The state of the same run before its first step."""
        return replace(
            self, step=0, clock_s=self.origin_s, metrics_bytes=self.begin_bytes, metrics_crc32=self.begin_crc32,
            planned=True, ledger={}, saved=(), attempt=0,
        )  # fmt: skip

    def image(self) -> FileImage:
        """The state as a file of a checkpoint."""
        return json_image(NAME, self.document())

    def document(self) -> dict[str, Any]:
        """The state as a JSON object."""
        document = {"simulated": True, **asdict(self)}
        if not self.attempt:
            del document["attempt"]
        return document

    @classmethod
    def of(cls, document: Mapping[str, Any], name: str = NAME) -> RunState:
        """Read the state from a document in the file ``name``; raises :class:`Damaged` if a field is wrong."""
        state = conforming(reader(), {key: value for key, value in document.items() if key != "simulated"}, name)
        _check_times(state, name)
        if state.begin_bytes > state.metrics_bytes:
            raise Damaged(f"has a {name} that was changed: metrics_bytes is less than begin_bytes")
        if late := [saved for saved, _ in state.saved if (step_in_name(saved) or 0) > state.step]:
            raise Damaged(f"has a {name} that was changed: it keeps {late[0]}, which is of a later step")
        try:
            RunConfig.model_validate(state.config)
        except ValidationError as error:
            key = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])
            raise Damaged(f"has a {name} with a config that this version refuses, at {key!a}") from None
        return state


def _check_times(state: RunState, name: str) -> None:
    if state.clock_s < state.origin_s:
        raise Damaged(f"has a {name} that was changed: its clock stands before the beginning of the run")
    try:
        datetime.fromisoformat(state.start_time) + timedelta(seconds=state.clock_s)
    except OverflowError:
        raise Damaged(f"has a {name} that was changed: its clock stands after the year 9999") from None


@cache
def reader() -> TypeAdapter[RunState]:
    """The validator of a RunState, which takes milliseconds to build."""
    return TypeAdapter(RunState)


def loading_s(run: Run, state: RunState) -> float:
    """Simulated seconds to read a checkpoint."""
    return run.storage.seconds(run.checkpoint_bytes, "load", state.step)


def restart_s(run: Run, state: RunState) -> float:
    """Simulated second at which the process starts that continues from ``state``.

    A restart costs no time of the run, so the run is the same however often it was killed: start-up and loading end at
    the moment at which the state was saved.
    """
    return state.clock_s - run.startup.total - loading_s(run, state)
