"""Habits of a stack: what its step times are like, beside their mean.

How tight the core is, whether garbage is collected every so many steps, how often a shared file system or network
stalls it. They are drawn once per run, from classes and ranges measured on public logs.
"""

import math
from dataclasses import dataclass
from typing import Literal

from accelerate_sim.sim.noise import Draws

PERIODS = (50, 100, 100, 200, 250, 500, 1000)
"""Steps after which a stack does something of its own: collects garbage, synchronises metrics."""
STAGING_PERIODS = (250, 500, 1000)
"""Steps after which it copies its state to the host, to be written while it goes on."""
Work = Literal["even", "routed", "ragged"]
"""Packed sequences through dense layers; tokens routed to experts; sequences of any length."""
CLASSES: dict[Work, tuple[float, float]] = {"even": (0.35, 0.33), "routed": (0.05, 0.5), "ragged": (0.1, 0.3)}
"""Shares of runs whose core is tight (one machine, captured graphs, locked clocks), and loose."""
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
    caught_up: float
    """Share of a delay that was none of the GPUs': the host read the clock late, and the next step looks short."""
    pauses: float
    """Chance that a stretch of steps holds a pause."""
    pause_size: float
    aftermath: float
    """Of the first step after it."""
    aftermath_steps: float
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
    """Of the first steps, on machines that are still cold and caches that are empty."""
    settling_s: float
    decimals: int

    @classmethod
    def of(cls, seed: int, mean_s: float, work: Work, shared: bool) -> "Habits":
        """``work`` says how much the steps differ by themselves; ``shared``: nodes that share a network with others."""
        draws = Draws(seed, "step time")
        kind = draws.between("class", 0.0, 1.0)
        tight, loose = CLASSES[work]
        if work == "ragged" and kind > 0.2:  # else its conversations are packed to one length, after all
            core = draws.log("ragged core", 0.05, 0.2)
        elif kind < tight:
            core = draws.log("core", 0.0002, 0.0018)
        elif kind < 1.0 - loose:
            core = draws.log("core", 0.0015, 0.006)
        else:
            core = draws.log("core", 0.01, 0.06)
        often = draws.chance("often late", 0.7)
        staging = draws.chance("staging", 0.3)
        periods = STAGING_PERIODS if staging else PERIODS
        period = periods[int(draws.between("period", 0, len(periods)))] if draws.chance("periodic", 0.4) else 0
        decimals = MOST_DECIMALS
        if draws.chance("coarse clock", COARSE_CLOCKS):
            decimals = min(max(math.ceil(-math.log10(1.5 * core * mean_s)), LEAST_DECIMALS), MOST_DECIMALS)
        hasty_clock = draws.chance("hasty clock", 0.05 if shared else 0.3)  # does not wait for the GPUs
        # How warm it is and which way packets take has nothing to do with how even the steps are.
        large = draws.chance("large levels", 0.15 if shared else 0.08)
        level = draws.log("large level", 0.008, 0.03) if large else draws.log("level", 0.0003, 0.004)
        restless = draws.chance("restless", 0.15 if shared else 0.08)
        wander = draws.log("large wander", 0.01, 0.035) if restless else draws.log("wander", 0.0003, 0.004)
        # Where steps differ by their data, so do shards of it.
        wander = min(math.hypot(wander, core * draws.between("uneven shards", 0.2, 1.2)), 0.06)
        second = draws.log("second", 1.02, 2.0) if draws.chance("cold second", 0.5) else 1.0
        if hasty_clock:  # the host is ahead by a step when it has launched the second one
            second = draws.log("early second", 0.7, 1.0)
        drift = draws.log("drift", 0.002, 0.04) * (1.0 if draws.chance("drifts up", 0.8) else -1.0)
        settling = draws.log("settling", 0.002, 0.05) * (1.0 if draws.chance("settles down", 0.8) else -0.5)
        remembers = draws.chance("remembers", 0.6 if shared or work == "ragged" else 0.3)
        contended = draws.chance("contended", 0.25 if shared else 0.08)
        return cls(
            core=core, heavy=draws.chance("heavy", 0.6),
            stretch=draws.between("stretch", 1.2, 2.4) if draws.chance("stretched", 0.7) else 1.0,
            memory=draws.between("memory", 0.2, 0.7) if remembers else 0.0,
            phi=draws.between("phi", 0.75, 0.97),
            queueing=draws.between("queueing", 0.1, 0.35) if draws.chance("queues", 0.12 if shared else 0.22) else 0.0,
            level=level if draws.chance("shifts", 0.8 if shared else 0.5) else 0.0,
            level_steps=int(draws.log("level steps", 30, 600)),
            drift=drift if draws.chance("drifts", 0.5 if shared else 0.3) else 0.0,
            wander=wander if draws.chance("wanders", 0.75 if shared else 0.5) else 0.0,
            wander_steps=int(draws.log("wander steps", 25, 600)),
            straggler_share=draws.log("straggler", 0.005, 0.02) if often else draws.log("straggler", 0.0002, 0.002),
            straggler_size=draws.log("straggler size", 0.015, 0.25),
            stall_share=draws.log("stall", 0.00005, 0.0015), stall_size=draws.log("stall size", 0.15, 1.2),
            freeze_share=draws.log("freeze", 0.00002, 0.0004) if draws.chance("freezes", 0.3) else 0.0,
            contention=draws.log("contention", 0.03, 0.3) if contended else 0.0,
            contention_size=draws.log("contention size", 0.03, 0.35),
            contention_steps=draws.log("contention steps", 2, 15),
            recovery=draws.between("recovery", 0.1, 0.5) if draws.chance("recovers", 0.4) else 0.0,
            caught_up=draws.between("caught up", 0.5, 1.0) if hasty_clock else 0.0,
            pauses=draws.log("pauses", 0.05, 0.2) if draws.chance("pausing", 0.5 if shared else 0.25) else 0.0,
            pause_size=draws.log("pause", 0.01, 0.3), aftermath=draws.log("aftermath", 0.001, 0.012),
            aftermath_steps=draws.log("aftermath steps", 4, 60),
            short_share=draws.log("short", 0.002, 0.03) if draws.chance("shorts", 0.4) else 0.0,
            short_size=draws.log("short size", 0.01, 0.08),
            period=period,
            period_size=draws.log("stage", 0.1, 0.7) if staging else draws.log("period size", 0.005, 0.05),
            after_period=draws.between("after", -0.3, 0.3),
            tick=4 + int(16 * draws.between("tick", 0.0, 1.0)) if draws.chance("ticks", 0.12) else 0,
            tick_size=core * draws.between("tick size", 1.5, 5.0),
            # Kernels are chosen, buffers are grown and connections are made in the first step.
            first_extra_s=min(draws.log("first", 0.3, 60), 60 * mean_s) if draws.chance("cold", 0.8) else 0.0,
            second_factor=second,
            settling=settling if draws.chance("settles", 0.6) else 0.0, settling_s=draws.log("settling s", 40, 1500),
            decimals=decimals,
        )  # fmt: skip
