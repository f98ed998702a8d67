"""``Fault``: one line of the fault language, read: a kind, its targets, when it comes, how often, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from accelerate_sim.faults.spans import NOTHING, FaultSpan
from accelerate_sim.faults.targets import Target
from accelerate_sim.faults.triggers import At

Value: TypeAlias = str | int | float | bool | FaultSpan
"""Value of a key that belongs to one kind."""


@dataclass(frozen=True, slots=True)
class After:
    """The fault that another one follows, and the delay after it."""

    id: str
    delay_s: float = 0.0

    def __str__(self) -> str:
        from accelerate_sim.faults.spans import seconds_text

        return f"{self.id}+{seconds_text(self.delay_s)}" if self.delay_s else self.id


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts, from 0, in which a fault may strike; ``last`` is None for no end."""

    first: int = 0
    last: int | None = None

    def __contains__(self, attempt: int) -> bool:
        return self.first <= attempt and (self.last is None or attempt <= self.last)

    def __str__(self) -> str:
        if self.last == self.first:
            return str(self.first)
        return f"{self.first}-{'' if self.last is None else self.last}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A fault as it is planned. ``language.render`` writes it as words, ``language.parse`` reads those."""

    kind: str
    id: str
    """Name in events and in ``after``; ``kind-N`` if none is written, N counting the faults of a config from 1."""
    targets: tuple[Target, ...]
    at: At
    after: After | None = None
    attempts: Attempts = Attempts()
    times: int | None = 1
    """Strikes in the life of the job, restarts included; None: each time the trigger comes."""
    lasts: FaultSpan = NOTHING
    """``for``: length of its effect."""
    ramp: FaultSpan = NOTHING
    """Time in which it grows to its full strength."""
    delay_s: float | None = None
    """Seconds from the trigger to the first symptom; None: the kind's own."""
    seed: int | None = None
    """Seed of its draws; None: that of the run with the fault's id."""
    silent: bool = False
    """It acts and prints nothing."""
    note: str = ""
    params: Mapping[str, Value] = field(default_factory=dict)
    """The kind's own keys, all of them, defaults filled in."""

    def __getitem__(self, key: str) -> Value:
        return self.params[key]
