"""Distribution of a stack's step times around their mean, drawn once per run.

A draw says how tight the core is, whether garbage is collected every so many steps, and how often a shared file system
or network stalls it. Classes and ranges were measured on public logs.
"""

import math
from dataclasses import dataclass
from typing import Literal

from accelerate_sim.sim.noise import Draws

PERIODS = (50, 100, 100, 200, 250, 500, 1000)
"""Steps after which a stack does something of its own: collects garbage, synchronises metrics."""
STAGING_PERIODS = (250, 500, 1000)
"""Steps after which it copies its state to the host, to be written while it goes on."""
Work = Literal["even", "routed", "ragged", "launched"]
"""Packed sequences through dense layers; tokens routed to experts; sequences of any length; kernels so small that GPUs
wait for their host to launch them."""
Machines = Literal["one", "fabric", "shared"]
"""A machine alone; several on a fast network of their own; several on one that carries other people's traffic, too."""
Range = tuple[float, float]
TIGHT: Range = (0.0002, 0.0015)
NORMAL: Range = (0.0012, 0.0075)
LAUNCHED: Range = (0.004, 0.06)
TICKS = 0.5
"""Share of runs in which something comes round every few steps."""


@dataclass(frozen=True)
class Site:
    """Chances that a habit is present on such machines, and ranges of its size as the logarithm of a ratio.

    ``Habits`` describes each; a range is drawn from where the chance beside it comes true.
    """

    tight: float
    """Share of runs whose steps are all alike (captured graphs, locked clocks), where the work is even."""
    loose: float
    """Share of those that others' jobs, hosts or storage hold up all the time."""
    core: Range
    """Core of the loose runs."""
    routed_core: Range
    """Core of half of the runs of experts, which get changing numbers of tokens."""
    large_level: float
    level: Range
    """Size of large shifts of the level."""
    restless: float
    wander: Range
    """Size of the wander of restless runs."""
    drifts: float
    drift: Range
    settles: float
    settling: Range
    persists: float
    memory: Range
    """Share of the core's variance that persists."""
    often_late: float
    often: Range
    """Share of steps that are late in runs that are often so."""
    straggler: Range
    """Size of the delay of late steps."""
    stall: Range
    """Share of steps that take a third longer, or several times as long."""
    contended: float
    contention: Range
    """Size of the delay that other jobs cause."""
    pausing: float
    hasty_clock: float
    starved: float
    """Share of runs whose steps now and then wait for data, an evaluation or a file system."""
    starvation: Range
    """Share of those runs' steps that do."""


SITES: dict[Machines, Site] = {
    "one": Site(
        tight=0.35, loose=0.25, core=(0.01, 0.09), routed_core=(0.01, 0.06), large_level=0.08, level=(0.008, 0.03),
        restless=0.08, wander=(0.01, 0.035), drifts=0.3, drift=(0.002, 0.04), settles=0.5, settling=(0.002, 0.03),
        persists=0.7, memory=(0.3, 0.95),
        often_late=0.75, often=(0.005, 0.018), straggler=(0.015, 0.2), stall=(0.0002, 0.0025),
        contended=0.08, contention=(0.03, 0.25), pausing=0.3, hasty_clock=0.15,
        starved=0.4, starvation=(0.0004, 0.0022),
    ),
    # 24 logs of 64 to 10,752 dedicated GPUs: a core of 0.03 to 1.3 %, in half of them above 0.3 %; a step resembles the
    # next one (a correlation of 0.3 in the middle, -0.2 to 0.8), and not the one 20 steps later (0.0).
    "fabric": Site(
        tight=0.3, loose=0.1, core=(0.005, 0.012), routed_core=(0.005, 0.02), large_level=0.04, level=(0.004, 0.012),
        restless=0.04, wander=(0.004, 0.01), drifts=0.2, drift=(0.001, 0.006), settles=0.3, settling=(0.001, 0.01),
        persists=0.7, memory=(0.3, 0.95),
        often_late=0.6, often=(0.003, 0.012), straggler=(0.008, 0.08), stall=(0.00003, 0.0006),
        contended=0.06, contention=(0.01, 0.08), pausing=0.3, hasty_clock=0.03,
        starved=0.1, starvation=(0.00005, 0.0003),
    ),
    "shared": Site(
        tight=0.1, loose=0.6, core=(0.01, 0.06), routed_core=(0.01, 0.06), large_level=0.15, level=(0.008, 0.03),
        restless=0.15, wander=(0.01, 0.035), drifts=0.5, drift=(0.002, 0.04), settles=0.6, settling=(0.002, 0.05),
        persists=0.5, memory=(0.1, 0.7),
        often_late=0.8, often=(0.006, 0.02), straggler=(0.015, 0.25), stall=(0.0001, 0.0015),
        contended=0.25, contention=(0.03, 0.35), pausing=0.5, hasty_clock=0.05,
        starved=0.4, starvation=(0.0002, 0.001),
    ),
}  # fmt: skip
COARSE_CLOCKS = 0.09
"""Share of stacks whose clock shows hardly more than what the core does (milliseconds of a tenth of a second); the rest
write all that it has."""
LEAST_DECIMALS, MOST_DECIMALS = 3, 7
"""Range of the decimals of the seconds that a stack writes: from milliseconds to a tenth of a microsecond."""
HUNDREDTH_MS_DECIMALS = 5
"""Decimals of seconds in a log whose step times have two of milliseconds."""


@dataclass(frozen=True)
class Habits:
    """Distribution of one run's step times; sizes are logarithms of a ratio to their mean."""

    core: float
    heavy: bool
    """True if the core has Student's tails."""
    stretch: float
    """Factor by which the slow half of the core is wider."""
    memory: float
    phi: float
    queueing: float
    """Share of a step's delay that the next step makes up for."""
    level: float
    level_steps: int
    drift: float
    wander: float
    """Size of slow changes over hundreds of steps, by room temperature, other jobs on the node and memory."""
    wander_steps: int
    straggler_share: float
    straggler_size: float
    stall_share: float
    stall_size: float
    freeze_share: float
    """Share of steps that wait for data, an evaluation or a file system many times as long as a step takes."""
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
    """Delay of the first step after a pause."""
    aftermath_steps: float
    short_share: float
    short_size: float
    period: int
    """Steps from one periodic delay to the next; 0: none."""
    period_size: float
    after_period: float
    tick: float
    """Steps from one batch of files, or one round of the host's own duties, to the next; 0: none."""
    tick_size: float
    first_extra_s: float
    second_factor: float
    settling: float
    """Delay of the first steps, on machines that are still cold and caches that are empty."""
    settling_s: float
    decimals: int

    @classmethod
    def of(cls, seed: int, mean_s: float, work: Work, machines: Machines) -> "Habits":
        """Draw the habits; ``work`` is the kind of variation that the steps have by themselves."""
        draws, site = Draws(seed, "step time"), SITES[machines]
        core = _core(draws, work, site)
        often = draws.chance("often late", site.often_late)
        staging = draws.chance("staging", 0.3)
        periods = STAGING_PERIODS if staging else PERIODS
        period = periods[int(draws.between("period", 0, len(periods)))] if draws.chance("periodic", 0.4) else 0
        # A timer of a hundredth of a millisecond is as usual as one that keeps all it has.
        decimals = HUNDREDTH_MS_DECIMALS if draws.chance("hundredths", 0.5) else MOST_DECIMALS
        if draws.chance("coarse clock", COARSE_CLOCKS):
            decimals = min(max(math.ceil(-math.log10(1.5 * core * mean_s)), LEAST_DECIMALS), MOST_DECIMALS)
        hasty_clock = draws.chance("hasty clock", site.hasty_clock)  # does not wait for the GPUs
        # How warm it is and which way packets take has nothing to do with how even the steps are.
        large = draws.chance("large levels", site.large_level)
        level = draws.log("large level", *site.level) if large else draws.log("level", 0.0002, 0.0025)
        restless = draws.chance("restless", site.restless)
        wander = draws.log("large wander", *site.wander) if restless else draws.log("wander", 0.0002, 0.0025)
        # Where steps differ by their data, so do shards of it.
        wander = min(math.hypot(wander, core * draws.between("uneven shards", 0.2, 1.2)), 0.05)
        second = draws.log("second", 1.02, 2.0) if draws.chance("cold second", 0.5) else 1.0
        if hasty_clock:  # the host is ahead by a step when it has launched the second one
            second = draws.log("early second", 0.7, 1.0)
        drift = draws.log("drift", *site.drift) * (1.0 if draws.chance("drifts up", 0.8) else -1.0)
        settling = draws.log("settling", *site.settling) * (1.0 if draws.chance("settles down", 0.8) else -0.5)
        persists = draws.chance("remembers", 0.5 if work == "ragged" else site.persists)
        alone = machines == "one"
        tick = draws.log("tick", 2.0, 30.0)  # what the host does of its own comes by its clock, at any part of a step
        tick = float(round(tick)) if draws.chance("files", 0.4) else tick  # files hold whole batches
        # Kernels are compiled and chosen, buffers are grown and connections are made in the first step.
        first = min(draws.log("first", 0.5, 60), 60 * mean_s) + mean_s * draws.log("cold caches", 0.1, 1.0)
        return cls(
            core=core, heavy=draws.chance("heavy", 0.4),
            stretch=draws.between("stretch", 1.2, 2.4) if draws.chance("stretched", 0.7) else 1.0,
            memory=draws.between("memory", *site.memory) if persists else 0.0,
            phi=draws.between("phi", 0.6, 0.97),
            queueing=draws.between("queueing", 0.1, 0.35) if draws.chance("queues", 0.22 if alone else 0.06) else 0.0,
            level=level if draws.chance("shifts", 0.5) else 0.0,
            level_steps=int(draws.log("level steps", 30, 600)),
            drift=drift if draws.chance("drifts", site.drifts) else 0.0,
            wander=wander if draws.chance("wanders", 0.6 if alone else 0.5) else 0.0,
            wander_steps=int(draws.log("wander steps", 15, 400)),
            straggler_share=draws.log("straggler", *site.often) if often else draws.log("straggler", 0.0002, 0.002),
            straggler_size=draws.log("straggler size", *site.straggler),
            stall_share=draws.log("stall", *site.stall), stall_size=draws.log("stall size", 0.15, 1.2),
            freeze_share=draws.log("freeze", *site.starvation) if draws.chance("freezes", site.starved) else 0.0,
            contention=draws.log("contention", 0.03, 0.3) if draws.chance("contended", site.contended) else 0.0,
            contention_size=draws.log("contention size", *site.contention),
            contention_steps=draws.log("contention steps", 2, 10),
            recovery=draws.between("recovery", 0.1, 0.5) if draws.chance("recovers", 0.4) else 0.0,
            caught_up=draws.between("caught up", 0.5, 1.0) if hasty_clock else 0.0,
            pauses=draws.log("pauses", 0.1, 0.5) if draws.chance("pausing", site.pausing) else 0.0,
            pause_size=draws.log("pause", 0.01, 0.3), aftermath=draws.log("aftermath", 0.002, 0.02),
            aftermath_steps=draws.log("aftermath steps", 2, 40),
            short_share=draws.log("short", 0.002, 0.03) if draws.chance("shorts", 0.4) else 0.0,
            short_size=draws.log("short size", 0.01, 0.08),
            period=period,
            period_size=draws.log("stage", 0.1, 0.7) if staging else draws.log("period size", 0.005, 0.05),
            after_period=draws.between("after", -0.3, 0.3),
            tick=tick if draws.chance("ticks", TICKS) else 0.0,
            tick_size=min(core * draws.log("tick size", 0.6, 2.5) * math.sqrt(tick), 0.4),
            first_extra_s=first,
            second_factor=second,
            settling=settling if draws.chance("settles", site.settles) else 0.0,
            settling_s=draws.log("settling s", 40, 1500),
            decimals=decimals,
        )  # fmt: skip


def _core(draws: Draws, work: Work, site: Site) -> float:
    """Draw the usual spread of single steps."""
    kind = draws.between("class", 0.0, 1.0)
    if work == "ragged" and kind > 0.2:  # else its conversations are packed to one length, after all
        return draws.log("ragged core", 0.05, 0.2)
    if work == "routed":
        return draws.log("core", *(NORMAL if kind < 0.5 else site.routed_core))
    if work == "launched":
        return draws.log("core", *LAUNCHED)
    if kind < site.tight:
        return draws.log("core", *TIGHT)
    return draws.log("core", *(NORMAL if kind < 1.0 - site.loose else site.core))
