"""Seconds of each step: a tight core with a heavy right tail, slow first steps, hiccups that come back, and incidents.

Every stack has habits: how tight its core is, whether it collects garbage every so many steps, how often a shared
file system or network stalls it. They are drawn once per run, from classes and ranges measured on public logs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.incidents import Incidents
from accelerate_sim.sim.noise import Draws, Floats, Steps

PERIODS = (50, 100, 100, 200, 250, 500, 1000)
"""Steps after which a stack does something of its own: collects garbage, synchronises metrics."""
STAGING_PERIODS = (250, 500, 1000)
"""Steps after which it copies its state to the host, to be written while it goes on."""
Work = Literal["even", "routed", "ragged"]
"""Packed sequences through dense layers; tokens routed to experts; sequences of any length."""
CLASSES: dict[Work, tuple[float, float]] = {"even": (0.3, 0.25), "routed": (0.05, 0.5), "ragged": (0.1, 0.3)}
"""Shares of runs whose core is tight (one machine, captured graphs, locked clocks), and loose."""
STRETCH = 128
"""Steps that hold one spell of contention at most."""
FREEZE = 2.0
"""Logarithm of how much longer the longest frozen step takes: seven times."""
SETTLING_STEPS = 20
"""Steps in which allocators and caches find their size."""
COARSE_CLOCKS = 0.35
"""Share of stacks whose clock shows hardly more than what the core does (milliseconds of a tenth of a second); the rest
write all that it has."""
LEAST_DECIMALS, MOST_DECIMALS = 3, 6
"""Of the seconds that a stack writes down: from milliseconds to microseconds."""


@dataclass(frozen=True)
class Habits:
    """What a stack's step times are like, beside their mean. Sizes are logarithms of a ratio to it."""

    core: float
    heavy: bool
    """Whether the core has Student's tails."""
    stretch: float
    """How much wider its slow half is."""
    memory: float
    phi: float
    queueing: float
    """Share of a step's delay that the next step makes up for."""
    level: float
    level_steps: int
    drift: float
    wander: float
    """Of room temperature, neighbours and memory, over hundreds of steps."""
    wander_steps: int
    straggler_share: float
    straggler_size: float
    stall_share: float
    stall_size: float
    freeze_share: float
    """Of steps that hang until something times out and is tried again."""
    contention: float
    """Chance that a stretch of steps holds some that others on the network or file system slow; 0: never."""
    contention_size: float
    contention_steps: float
    recovery: float
    """Share of a delay that is left in the next step."""
    short_share: float
    short_size: float
    period: int
    """0: none."""
    period_size: float
    after_period: float
    tick: int
    """Steps from one batch of files to the next; 0: none."""
    tick_size: float
    first_extra_s: float
    second_factor: float
    settling: float
    decimals: int

    @classmethod
    def of(cls, seed: int, mean_s: float, work: Work, shared: bool) -> "Habits":
        """``work`` says how much the steps differ by themselves; ``shared``: nodes that share a network with others."""
        draws = Draws(seed, "step time")
        kind = draws.between("class", 0.0, 1.0)
        tight, loose = CLASSES[work]
        if work == "ragged" and kind > 0.2:  # else its conversations are packed to one length, after all
            core = draws.log("ragged core", 0.03, 0.15)
        elif kind < tight:
            core = draws.log("core", 0.0006, 0.0025)
        elif kind < 1.0 - loose:
            core = draws.log("core", 0.0015, 0.006)
        else:
            core = draws.log("core", 0.01, 0.025 if work == "even" else 0.07)
        often = draws.chance("often late", 0.7)
        staging = draws.chance("staging", 0.3)
        periods = STAGING_PERIODS if staging else PERIODS
        period = periods[int(draws.between("period", 0, len(periods)))] if draws.chance("periodic", 0.4) else 0
        decimals = MOST_DECIMALS
        if draws.chance("coarse clock", COARSE_CLOCKS):
            decimals = min(max(math.ceil(-math.log10(1.5 * core * mean_s)), LEAST_DECIMALS), MOST_DECIMALS)
        wanders = draws.chance("wanders", 0.45 if shared else 0.25)
        return cls(
            core=core, heavy=draws.chance("heavy", 0.6),
            stretch=draws.between("stretch", 1.2, 2.4) if draws.chance("stretched", 0.7) else 1.0,
            memory=draws.between("memory", 0.2, 0.7) if draws.chance("remembers", 0.55 if shared else 0.15) else 0.0,
            phi=draws.between("phi", 0.75, 0.97),
            queueing=draws.between("queueing", 0.1, 0.35) if draws.chance("queues", 0.25 if shared else 0.4) else 0.0,
            level=min(core * draws.log("level", 0.2, 1.5), 0.012), level_steps=int(draws.log("level steps", 30, 600)),
            drift=draws.between("drift", -0.04, 0.10) if draws.chance("drifts", 0.25) else 0.0,
            wander=wanders * min(core * draws.between("wander", 0.3, 1.2), 0.02),
            wander_steps=int(draws.log("wander steps", 60, 1500)),
            straggler_share=draws.log("straggler", 0.002, 0.012) if often else draws.log("straggler", 0.0002, 0.002),
            straggler_size=draws.log("straggler size", 0.015, 0.25),
            stall_share=draws.log("stall", 0.00005, 0.0015), stall_size=draws.log("stall size", 0.15, 1.2),
            freeze_share=draws.log("freeze", 0.00002, 0.0004) if draws.chance("freezes", 0.3) else 0.0,
            contention=draws.log("contention", 0.03, 0.4) if draws.chance("contended", 0.5 if shared else 0.2) else 0.0,
            contention_size=draws.log("contention size", 0.03, 0.35),
            contention_steps=draws.log("contention steps", 3, 25),
            recovery=draws.between("recovery", 0.1, 0.5) if draws.chance("recovers", 0.25) else 0.0,
            short_share=draws.log("short", 0.002, 0.03) if draws.chance("shorts", 0.4) else 0.0,
            short_size=draws.log("short size", 0.01, 0.08),
            period=period,
            period_size=draws.log("stage", 0.1, 0.7) if staging else draws.log("period size", 0.005, 0.05),
            after_period=draws.between("after", -0.3, 0.3),
            tick=4 + int(16 * draws.between("tick", 0.0, 1.0)) if draws.chance("ticks", 0.2) else 0,
            tick_size=core * draws.between("tick size", 1.5, 5.0),
            # Kernels are chosen, buffers are grown and connections are made in the first step.
            first_extra_s=min(draws.log("first", 0.3, 60), 60 * mean_s) if draws.chance("cold", 0.8) else 0.0,
            second_factor=draws.log("second", 1.02, 2.0) if draws.chance("cold second", 0.5) else 1.0,
            settling=draws.between("settling", -0.03, 0.03),
            decimals=decimals,
        )  # fmt: skip


@dataclass(frozen=True)
class StepTimes:
    """The step times of one run."""

    seed: int
    mean_s: float
    compute_share: float
    """Share of the step that a slow rank stretches."""
    habits: Habits
    total_steps: int
    incidents: Incidents
    throttling: float
    """Factor on the computing time of a rank that its power or temperature limit slows for good."""
    imposed: tuple[float, float] | None

    @classmethod
    def of(
        cls,
        seed: int,
        mean_s: float,
        compute_share: float,
        incidents: Incidents,
        imposed: tuple[float, float] | None,
        *,
        total_steps: int = 3000,
        work: Work = "even",
        shared: bool = False,
        throttling: float = 1.0,
    ) -> "StepTimes":
        habits = Habits.of(seed, mean_s, work, shared)
        return cls(seed, mean_s, compute_share, habits, total_steps, incidents, throttling, imposed)

    def seconds(self, steps: Steps) -> Floats:
        """Seconds of consecutive steps, in the resolution of the stack's clock."""
        slowest = self.throttling * self.incidents.slowdown(steps)
        slowdown = 1.0 + self.compute_share * (slowest - 1.0)
        if self.imposed:
            return np.asarray(np.round(np.minimum(self._imposed(steps) * slowdown, self.imposed[1]), 6))
        excess = (
            self._core(steps) + self._level(steps) + self._tail(steps) + self._contention(steps) + self._periodic(steps)
        )
        seconds = self.mean_s * np.exp(excess) * slowdown * self._warm_up(steps)
        seconds = seconds + self.habits.first_extra_s * (steps == 0)
        return np.asarray(np.maximum(np.round(seconds, self.habits.decimals), 10.0**-self.habits.decimals))

    def _white(self, steps: Steps) -> Floats:
        bell = noise.normal(self.seed, "step time/core", steps)
        if self.habits.heavy:
            # A chi-square below the line makes Student's t with 4 degrees of freedom: mostly tight, at times far off.
            spread = -0.5 * (
                np.log(noise.uniform(self.seed, "step time/t", steps))
                + np.log(noise.uniform(self.seed, "step time/t2", steps))
            )
            bell = 0.8 * bell / np.sqrt(np.maximum(spread, 0.05))
        return np.where(bell > 0, self.habits.stretch * bell, bell)

    def _core(self, steps: Steps) -> Floats:
        habits = self.habits
        x = self._white(np.concatenate((steps[:1] - 1, steps)))
        x = x[1:] - habits.queueing * x[:-1]
        if habits.memory:
            slow = noise.persistent(self.seed, "step time/memory", habits.phi, steps)
            x = np.sqrt(1.0 - habits.memory) * x + np.sqrt(habits.memory) * slow
        return np.asarray(habits.core * x)

    def _level(self, steps: Steps) -> Floats:
        """Clocks, fragmentation and routes shift now and then, and some clusters drift for hours."""
        habits = self.habits
        window = steps // habits.level_steps
        shift = self._each(noise.uniform, "level at", window) * habits.level_steps
        number = np.where(steps % habits.level_steps >= shift, window, window - 1)
        drift = habits.drift * (np.clip(steps / max(self.total_steps, 1), 0.0, 1.0) - 0.5)
        level = habits.level * self._each(noise.normal, "level", number) + drift
        if habits.wander:
            knot, part = steps // habits.wander_steps, steps % habits.wander_steps / habits.wander_steps
            before, after = (self._each(noise.normal, "wander", each) for each in (knot, knot + 1))
            level += habits.wander * (before + (after - before) * part)
        return np.asarray(level)

    def _each(self, draw: Callable[..., Floats], stream: str, numbers: Steps) -> Floats:
        """What is drawn for each number; there are many of a few neighbouring ones, so each is drawn once."""
        first = numbers.min()
        return draw(self.seed, f"step time/{stream}", np.arange(first, numbers.max() + 1))[numbers - first]

    def _tail(self, steps: Steps) -> Floats:
        """Late steps; where queues have to empty, the next ones are still a little late."""
        left = self.habits.recovery
        if not left:
            return self._late(steps)
        late = self._late(np.concatenate((steps[:1] - 2, steps[:1] - 1, steps)))
        return np.asarray(late[2:] + left * late[1:-1] + left**2 * late[:-2])

    def _late(self, steps: Steps) -> Floats:
        habits = self.habits
        draw = noise.uniform(self.seed, "step time/tail", steps)
        bell = noise.normal(self.seed, "step time/tail size", steps)
        straggler = 2.0 * habits.core + habits.straggler_size * np.exp(0.8 * bell)
        tail = np.where(draw < habits.straggler_share, np.minimum(straggler, 0.7), 0.0)
        stall = 0.26 + habits.stall_size * np.exp(0.5 * bell)
        tail = np.where(draw > 1.0 - habits.stall_share, np.minimum(stall, 1.8), tail)
        if habits.freeze_share:
            waits = noise.uniform(self.seed, "step time/freeze", steps) < habits.freeze_share
            tail = np.where(
                waits, FREEZE * (0.6 + 0.4 * noise.uniform(self.seed, "step time/freeze size", steps)), tail
            )
        short = (draw > 0.5) & (draw < 0.5 + habits.short_share)
        return np.where(short, -np.minimum(habits.short_size * np.exp(0.5 * bell), 0.12), tail)

    def _contention(self, steps: Steps) -> Floats:
        """Somebody else's job on the same network: it comes, slows a few steps by amounts that differ, and goes."""
        habits = self.habits
        if not habits.contention:
            return np.zeros(len(steps))
        stretch = steps // STRETCH
        here = self._each(noise.uniform, "contention", stretch) < habits.contention
        if not here.any():
            return np.zeros(len(steps))
        length = 1.0 - habits.contention_steps * np.log(self._each(noise.uniform, "contention steps", stretch))
        begin = self._each(noise.uniform, "contention at", stretch) * STRETCH
        within = (steps % STRETCH >= begin) & (steps % STRETCH < begin + length)
        size = habits.contention_size * noise.exponential(self.seed, "step time/contention size", steps)
        return np.where(within & here, np.minimum(size, 0.9), 0.0)

    def _periodic(self, steps: Steps) -> Floats:
        habits, total = self.habits, np.zeros(len(steps))
        if habits.period:
            size = habits.period_size * np.exp(0.15 * noise.normal(self.seed, "step time/period", steps))
            total += np.where((steps + 1) % habits.period == 0, size, 0.0)
            after = min(habits.period_size, 0.05) * habits.after_period
            total += np.where((steps % habits.period == 0) & (steps > 0), after, 0.0)
        if habits.tick:
            total += habits.tick_size * (steps % habits.tick == habits.tick - 1)
        return total

    def _warm_up(self, steps: Steps) -> Floats:
        habits = self.habits
        second = np.where(steps == 1, habits.second_factor, 1.0)
        return np.asarray(second * np.exp(habits.settling * np.maximum(1.0 - steps / SETTLING_STEPS, 0.0)))

    def _imposed(self, steps: Steps) -> Floats:
        assert self.imposed
        low, high = self.imposed
        slow = noise.persistent(self.seed, "step time/memory", 0.95, steps)
        x = 0.8 * slow + 0.6 * noise.normal(self.seed, "step time/core", steps)
        return low + (high - low) / (1.0 + np.exp(-1.2 * x))
