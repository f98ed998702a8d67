"""``FaultKind``: the entry of one kind of fault in the table, and what an occurrence does, as plain data.

A new kind is one entry in a module of ``accelerate_sim.faults.kinds``. Its functions are pure: they are given an
``Occurrence`` and return what happens; the session does it, in one process by printing and under a launcher really.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from accelerate_sim.faults.consequences import Ending, FaultLine, FaultyFigures, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import NOTHING, FaultSpan
from accelerate_sim.faults.targets import Noun

if TYPE_CHECKING:
    from accelerate_sim.gpu_condition import Condition

if TYPE_CHECKING:
    from numpy.typing import NDArray

KeyType = Literal["text", "word", "int", "float", "size", "span", "switch"]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of one kind: its type, its default, and the values that it may have."""

    type: KeyType
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    """Values of a word."""
    least: float = 0.0
    most: float = 1e18


def _nothing(_: Occurrence) -> tuple[()]:
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultKind:
    """One kind of fault. Functions that are not given mean that it does nothing of that sort."""

    name: str
    help: str
    """One line for ``--list faults``."""
    targets: tuple[Noun, ...]
    """Targets that it may have."""
    target: str = "rank=any"
    """The target of a fault that names none."""
    keys: Mapping[str, Key] = field(default_factory=dict)
    lasts: FaultSpan = NOTHING
    """Default of ``for``; a kind whose effect has no length takes none."""
    lasts_by: Callable[[Mapping[str, Value]], FaultSpan | None] | None = None
    """Default of ``for`` from the other keys, for a kind whose keys may decide it; None: they do not."""
    phase: str = ""
    """The phase of a strike whose trigger names none; empty: in the midst of a step."""
    phase_by: Callable[[Mapping[str, Value]], str] | None = None
    """That phase from the kind's keys, where they decide it."""
    delay_s: float = 0.0
    """Default of ``delay``: seconds from the trigger to the first symptom."""
    check: Callable[[Mapping[str, Value]], str | None] | None = None
    """Returns a sentence about keys that do not go together; None if they do."""
    ends: Callable[[Occurrence], Ending | None] | None = None
    """The end of the attempt; None: the job goes on."""
    pace: Callable[[Occurrence], float] | None = None
    """Factor on the step time at full strength, while the fault lasts."""
    saving: Callable[[Occurrence], float] | None = None
    """Factor on the time to write a checkpoint at full strength, while the fault lasts."""
    figures: Callable[[Occurrence, FaultyFigures], FaultyFigures] | None = None
    """The figures of steps while the fault lasts."""
    micro_losses: Callable[[Occurrence, int, NDArray[Any]], NDArray[Any]] | None = None
    """The losses of a step's micro-batches, [micro_batches, replicas], while the fault lasts; steps count from 1."""
    late_batches_s: Callable[[Occurrence, int], float] | None = None
    """Seconds for which a rank that is hit waits longer for the batches of a step, from 1, while the fault lasts."""
    loss_scale: Callable[[Occurrence, int], float] | None = None
    """Factor on the scale of an fp16 loss after a step, from the strike on; a step of the fault is skipped."""
    clock_s: Callable[[Occurrence, float], float] | None = None
    """Seconds by which the clock of a machine that is hit is ahead, at a second of the run while the fault lasts."""
    telemetry: Callable[[Occurrence, int, Condition, float], Condition] | None = None
    """The condition of a rank's GPU that is hit, from that before the strike, so many seconds after it."""
    is_there_before: bool = False
    """The condition is that of the GPU from the start of the attempt on, as the strike only finds it."""
    nccl: Callable[[Occurrence, int], str] | None = None
    """The version of NCCL that a rank has from the start of the attempt on."""
    on_store: Callable[[Occurrence], tuple[str, float]] | None = None
    """The way in which a job's store fails, ``reset``, ``gone`` or ``slow``, and for how many seconds."""
    on_disk: Callable[[Occurrence, Path, Path | None], None] | None = None
    """Acts on the files of the output directory and of the newest checkpoint, which the main process calls once."""
    damages: Callable[[Occurrence], Iterable[str]] = _nothing
    """``checkpoint`` if the newest checkpoint cannot be read any more."""
    lines: Callable[[Occurrence], Iterable[FaultLine]] = _nothing
    """Lines of ranks and machines, the victims' tracebacks included."""
    truth: Truth
    truth_by: Callable[[Occurrence], Truth] | None = None
    """The truth of one strike, for a kind whose keys decide it."""
    expect: Callable[[Occurrence], Mapping[str, Any]] | None = None
    """Facts that a detector can check beyond exit codes, restarts and lost steps, which follow from the schedule."""

    def length(self, keys: Mapping[str, Value]) -> FaultSpan:
        """Default of ``for``, with these keys."""
        return (self.lasts_by(keys) if self.lasts_by else None) or self.lasts

    def phase_with(self, keys: Mapping[str, Value]) -> str:
        """The phase of a strike whose trigger names none, with these keys."""
        return self.phase_by(keys) if self.phase_by else self.phase

    def truth_of(self, strike: Occurrence) -> Truth:
        """The section of the ground truth about a strike's cause."""
        return self.truth_by(strike) if self.truth_by else self.truth
