"""The state of Megatron-LM's voice: sums since the last iteration line, the ranks that print, and forms of times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from accelerate_sim.records.timestamps import to_microseconds, to_seconds
from accelerate_sim.voices.voice import Line, Setting, VoiceState

if TYPE_CHECKING:
    from accelerate_sim.voices.megatron_timers import PhaseTimers

HEADINGS = {
    "minmax": "(min, max) time across ranks (ms):", "max": "max time across ranks (ms):",
    "all": "times across ranks (ms):",
}  # fmt: skip
"""First lines of a record of timers, by ``--timing-log-option``."""


class Megatron(VoiceState):
    """Sums since the last iteration line, and the ranks that print."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.micros = self.version == "0.19"
        """Times are in microseconds, and checkpoints have one."""
        self.last_rank = self.run.world_size - 1
        layout = self.plan.layout
        block = layout.tensor * layout.context
        self.first_replicas = tuple(
            rank
            for stage in range(layout.pipeline)
            for rank in range(stage * layout.stage_stride, stage * layout.stage_stride + block)
        )
        """Ranks with data-parallel rank 0."""
        self.flops_per_gpu = self.run.flops_per_token / self.run.world_size / 1e12
        self.throughput = bool(self.options["log_throughput"])
        self.began = self.reached = self.now()
        """When the process began, and when the last part of its set-up was done."""
        self.model_setup = timedelta()
        self.reports_memory = True
        """A report of memory follows the next iteration line."""
        self.resumed_step = 0
        self.is_done = False
        self.loaded_from = ""
        self.phases = self._phase_timers()
        self.reset()

    def reset(self) -> None:
        """Begin the sums anew, after an iteration line."""
        self.steps = self.skipped = 0
        self.loss = self.balance = self.seconds = 0.0
        self.tokens_before = -1

    def stamp(self, time: datetime) -> str:
        """The time in brackets in front of a line; forks have none."""
        if self.version == "plain":
            return ""
        return f"[{to_microseconds(time) if self.micros else to_seconds(time)}] "

    def datetime_line(self, what: str, time: datetime | None = None) -> Line:
        """A line with the date and the time, which ends with a blank."""
        moment = time or self.now()
        return Line(f"[{what}] datetime: {to_microseconds(moment) if self.micros else to_seconds(moment)} ")

    def position(self) -> str:
        """The place of rank 0 in the grid of model parallelism, as lines on checkpoints have it."""
        layout = self.plan.layout
        remat = " gtp_remat 1/1," if self.micros else ""
        return f"[ t 1/{layout.tensor},{remat} p 1/{layout.pipeline} ]"

    def last(self, text: str) -> Line:
        """A line of the last rank."""
        return Line(text, rank=self.last_rank)

    def _phase_timers(self) -> PhaseTimers | None:
        """The timers inside a step; None if they are not logged."""
        level = self.options["timing_log_level"]
        if not level:
            return None
        from accelerate_sim.voices.megatron_timers import PhaseTimers

        return PhaseTimers(self.plan, level)

    def timers(self, seconds: Mapping[str, float]) -> Iterator[Line]:
        """The timers that all ranks start and stop together."""
        return self.rank_timers({name: [span] * self.run.world_size for name, span in seconds.items()})

    def rank_timers(self, seconds: Mapping[str, Sequence[float]]) -> Iterator[Line]:
        """The record of the seconds of each rank, which the last one logs in milliseconds; zeros are left out."""
        option = self.options["timing_log_option"]
        rows = [row for name, spans in seconds.items() for row in _timer_rows(name, spans, option)]
        if rows:
            yield self.last("\n".join([HEADINGS[option], *rows]))


def _timer_rows(name: str, seconds: Sequence[float], option: str) -> Iterator[str]:
    taken = [(rank, span * 1000.0) for rank, span in enumerate(seconds) if span > 0.0]
    if not taken:
        return
    if option == "all":
        yield f"  {name}:"
        yield from (f"     rank {rank:2d}: {span:.2f}" for rank, span in taken)
        return
    least, most = min(span for _, span in taken), max(span for _, span in taken)
    figures = f"({least:.2f}, {most:.2f})" if option == "minmax" else f"{most:.2f}"
    yield f"    {f'{name} '.ljust(48, '.')}: {figures}"
