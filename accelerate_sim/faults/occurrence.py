"""``Occurrence``: one strike of a fault, and ``Attempt``: one start of the job, from a checkpoint to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from accelerate_sim.config.host_names import host_name
from accelerate_sim.faults.fault import Fault
from accelerate_sim.faults.targets import Hit
from accelerate_sim.sim import noise

if TYPE_CHECKING:
    from accelerate_sim.faults.consequences import Ending
    from accelerate_sim.sim.run import Run


@dataclass(frozen=True)
class Occurrence:
    """One strike of a fault: where and when. Two of one fault differ in ``number``."""

    fault: Fault
    number: int
    """Number of the strike in the life of the job, from 0."""
    attempt: int
    """From 0."""
    step: int
    """The step that is under way, from 1; one that the strike interrupts is not completed in this attempt."""
    phase: str
    second: float
    """Seconds since the first step of the run began, restarts and slow steps included."""
    hit: Hit
    run: Run = field(repr=False, compare=False)
    cause: str | None = None
    """Id of the fault that this one follows."""
    last_step: int = 0
    """The last step that it affects in this attempt; before ``step``: none."""
    end_s: float = 0.0
    """Second at which its effect ends."""
    ramp_steps: int = 0
    ending: Ending | None = None
    """The end of the attempt; None if the job goes on."""
    moment: datetime = field(default=datetime(2026, 1, 1), compare=False)
    """Simulated date and time, where a session plays the strike: texts that have a time in them have this one."""
    pids: tuple[int, ...] = field(default=(), compare=False)
    """Process id of each rank, where ranks are processes."""

    @cached_property
    def seed(self) -> int:
        """Seed of the draws of this strike."""
        return noise.seed_of(fault_seed(self.fault, self.run.noise_seed), self.number)

    def draw(self, name: str) -> float:
        """A number in (0, 1) of this strike alone."""
        return float(noise.uniform(self.seed, name)[0])

    def host(self, rank: int) -> str:
        """Host name of a rank's machine."""
        return host_name(self.run.config.cluster.host, rank // self.run.layout.gpus_per_node)

    def pid(self, rank: int) -> int:
        """Process id of a rank; one is made up where no process is there. -1 is the launcher."""
        if 0 <= rank < len(self.pids):
            return self.pids[rank]
        return 2000 + self.run.noise_seed % 20_000 + self.attempt * (self.run.layout.world_size + 50) + rank

    def strength(self, step: int) -> float:
        """Share of its full strength at a step: 0 outside, rising over the ramp."""
        if not self.step <= step <= self.last_step:
            return 0.0
        return min(1.0, (step - self.step + 1) / (self.ramp_steps + 1))


@dataclass(frozen=True)
class Attempt:
    """One start of the job: the steps after ``first_step`` up to its end."""

    number: int
    """From 0."""
    first_step: int
    """Steps that the checkpoint holds from which it goes on; 0: it begins anew."""
    start_s: float
    """Second at which its processes start, counted from the first step of the run."""
    begin_s: float
    """Second at which its first step begins."""
    occurrences: tuple[Occurrence, ...]
    """All that strike in it, in order."""
    carried: tuple[Occurrence, ...] = ()
    """Effects that began in an earlier attempt and still last."""
    ends: Callable[[], float] = field(default=float, compare=False, repr=False)
    """Computes ``end_s``, which takes a while for an attempt that makes many steps."""
    saved: tuple[int, ...] = ()
    """Steps of whole checkpoints when it has ended."""
    goes_on: bool = False
    """True if another attempt follows."""
    restarts_left: bool = False
    """True if the launcher would start the job again after it."""

    @cached_property
    def end_s(self) -> float:
        """Second at which all of its ranks have ended."""
        return self.ends()

    @property
    def ended_by(self) -> Occurrence | None:
        """The strike that ends it; None if it comes to the end of the run."""
        last = self.occurrences[-1] if self.occurrences else None
        return last if last is not None and last.ending is not None else None

    @property
    def completed(self) -> int:
        """Steps of the run that are complete when a strike ends it."""
        ended_by = self.ended_by
        assert ended_by is not None
        return ended_by.step - 1


def fault_seed(fault: Fault, noise_seed: int) -> int:
    """Seed of a fault's draws: its own, or the run's with its id."""
    return fault.seed if fault.seed is not None else noise.seed_of(noise_seed, "fault", fault.id)
