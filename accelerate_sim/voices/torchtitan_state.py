"""The state of torchtitan's voice in a run: its logger, its colours, and the tokens and the time of the last line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices.voice import Line, Setting, VoiceState

GIB = 2**30


class Colors(NamedTuple):
    """Escape codes of the colours in torchtitan's lines."""

    red: str = "\033[31m"
    green: str = "\033[32m"
    yellow: str = "\033[33m"
    blue: str = "\033[34m"
    magenta: str = "\033[35m"
    cyan: str = "\033[36m"
    orange: str = "\033[38;2;180;60;0m"
    turquoise: str = "\033[38;2;54;234;195m"
    reset: str = "\033[39m"


class Titan(VoiceState):
    """Tokens and time of the last line."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.is_01 = self.version == "0.1"
        layout = self.plan.layout
        self.rank = (layout.pipeline - 1) * layout.stage_stride
        self.color = Colors(*[""] * len(Colors._fields)) if self.options["disable_color_printing"] else Colors()
        self.loss_format = "8.5f" if self.version == "0.2.2" else "7.4f"
        self.dot = "." if self.is_01 else ""
        """Full stop at the end of some lines of 0.1."""
        name, _, size = self.plan.model.title.rpartition("-")
        self.model = (name or self.plan.model.title, size)
        self.is_sharded = layout.sharding in ("fsdp", "zero3")
        self.has_begun = False
        self.since = self.now()
        self.tokens = -1
        self.memory = ""
        self.validated = ""
        """The line of a validation that comes after the checkpoint of its step; empty: there is none."""

    def line(self, text: str, time: datetime | None = None, rank: int | None = None) -> Line:
        """A line of torchtitan's logger, of the rank that has the loss if ``rank`` names no other."""
        prefix = f"[titan] {asctime(time or self.now())} - root - INFO - "
        return Line(prefix + text, rank=self.rank if rank is None else rank, to_stderr=self.is_01)

    def validation(self) -> Iterator[Line]:
        """The line of the validation; the count of tokens begins anew after it."""
        if self.validated:
            yield self.line(self.validated)
            self.validated, self.since, self.tokens = "", self.now(), -1

    def gc(self, reason: str, time: datetime | None = None) -> Line:
        """The line of a collection of garbage."""
        return self.line(
            f"[GC] {reason.rstrip('.') + '.' if self.is_01 else reason + ' took'} 0.00 seconds{self.dot}", time
        )

    def tokens_per_s(self, tokens: int, time: datetime) -> float:
        """Tokens per second and device since the last line, which is now this one."""
        seconds = (time - self.since).total_seconds()
        rate = (tokens - self.tokens) / seconds / self.run.world_size if seconds > 0 else 0.0
        self.since, self.tokens = time, tokens
        return rate
