"""Seconds of each step: a tight core with a heavy right tail, slow first steps, hiccups that come back, and incidents.

The figures that differ from stack to stack are in ``step_habits``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.disturbances.incidents import Incidents
from accelerate_sim.sim.disturbances.step_habits import Habits, Machines, Work
from accelerate_sim.sim.noise import Floats, Steps

STRETCH = 128
"""Steps that hold one spell of contention at most."""
LEAST_WAIT, MOST_WAIT = 8.0, 32.0
"""Range of how many times longer a step takes that waits for data, an evaluation or a file system: 10 to 30 times in
the logs of single machines."""
LONGEST_WAIT_S = 200.0
"""Longest such wait in seconds: a loader that lags does so by what it reads, whatever a step takes."""
WAIT_GROWTH = 0.9
"""Logarithm by which such waits grow over a run, as memory and caches fill: one author noted 24, 92 and 186 s."""
MOST_CAUGHT_UP, MOST_CAUGHT_UP_S = 0.25, 0.3
"""Logarithm of how much shorter a step looks at most after one that was seen late, and by how much in seconds: a host
is late by what it was busy with, whatever the GPUs do meanwhile."""
AFTERMATH_STRETCHES = 3
"""Stretches after which a pause is forgotten."""


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
    work_of: Callable[[Steps], Floats] | None = None
    """Work of each step as a multiple of the planned one; None: all the same."""

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
        machines: Machines = "one",
        throttling: float = 1.0,
        work_of: Callable[[Steps], Floats] | None = None,
    ) -> "StepTimes":
        habits = Habits.of(seed, mean_s, work, machines)
        return cls(seed, mean_s, compute_share, habits, total_steps, incidents, throttling, imposed, work_of)

    def seconds(self, steps: Steps) -> Floats:
        """Seconds of consecutive steps, in the resolution of the stack's clock."""
        slowest = self.throttling * self.incidents.slowdown(steps)
        slowdown = 1.0 + self.compute_share * (slowest - 1.0)
        if self.imposed:
            return np.asarray(np.round(np.minimum(self._imposed(steps) * slowdown, self.imposed[1]), 6))
        excess = self._core(steps) + self._level(steps) + self._tail(steps) + self._periodic(steps)
        excess += self._contention(steps) + self._aftermath(steps)
        if steps[0] == 0:
            excess[0] = max(excess[0], 0.0)  # a process that has just started is never early
        # The mean is that of clusters that had slow ranks, too.
        usual_s = self.mean_s / (1.0 + self.compute_share * (self.incidents.mean_slowdown - 1.0))
        seconds = usual_s * np.exp(excess) * slowdown * self._warm_up(steps)
        if self.work_of:
            seconds *= self.work_of(steps)
        seconds = seconds + self.habits.first_extra_s * (steps == 0)
        return np.asarray(np.maximum(np.round(seconds, self.habits.decimals), 10.0**-self.habits.decimals))

    def _white(self, steps: Steps) -> Floats:
        """Late by any amount, early by little: a step has its kernels to run, whatever happens."""
        bell = noise.normal(self.seed, "step time/core", steps)
        late = self.habits.stretch * bell
        if self.habits.heavy:
            # A chi-square below the line makes Student's t with 4 degrees of freedom: mostly tight, at times far off.
            spread = -0.5 * (
                np.log(noise.uniform(self.seed, "step time/t", steps))
                + np.log(noise.uniform(self.seed, "step time/t2", steps))
            )
            late *= 0.8 / np.sqrt(np.maximum(spread, 0.05))
        return np.where(bell > 0, late, bell)

    def _core(self, steps: Steps) -> Floats:
        habits = self.habits
        x = self._white(np.concatenate((steps[:1] - 1, steps)))
        x = x[1:] - habits.queueing * x[:-1]
        if habits.memory:
            slow = noise.persistent(self.seed, "step time/memory", habits.phi, steps)
            x = np.sqrt(1.0 - habits.memory) * x + np.sqrt(habits.memory) * slow
        return np.asarray(habits.core * x)

    def _level(self, steps: Steps) -> Floats:
        """Clocks, fragmentation and routes shift now and then, as much as they do, however even the steps are; machines
        need some minutes to get as warm as they stay, and some clusters drift for hours."""
        habits = self.habits
        level = habits.drift * (np.clip(steps / max(self.total_steps, 1), 0.0, 1.0) - 0.5)
        if habits.level:
            window = steps // habits.level_steps
            shift = self._each(noise.uniform, "level at", window) * habits.level_steps
            number = np.where(steps % habits.level_steps >= shift, window, window - 1)
            level += habits.level * self._each(noise.normal, "level", number)
        if habits.settling:
            level += habits.settling * np.exp(-steps * self.mean_s / habits.settling_s)
        if habits.wander:
            knot, part = steps // habits.wander_steps, steps % habits.wander_steps / habits.wander_steps
            before, after = (self._each(noise.normal, "wander", each) for each in (knot, knot + 1))
            level += habits.wander * (before + (after - before) * part)
        return np.asarray(level)

    def _each(self, draw: Callable[..., Floats], stream: str, numbers: Steps) -> Floats:
        """Draw once for each of a few neighbouring numbers, and repeat the draw wherever its number occurs."""
        first = numbers.min()
        return np.asarray(draw(self.seed, f"step time/{stream}", np.arange(first, numbers.max() + 1))[numbers - first])

    def _tail(self, steps: Steps) -> Floats:
        """Late steps. Where queues have to empty, the next ones are still a little late; where the clock is read when
        the host comes by, and not when the GPUs are done, the next one looks as much too short."""
        left, caught_up = self.habits.recovery, self.habits.caught_up
        if not left and not caught_up:
            return self._late(steps)
        late = self._late(np.concatenate((steps[:1] - 2, steps[:1] - 1, steps)))
        if caught_up:
            most = min(MOST_CAUGHT_UP, MOST_CAUGHT_UP_S / self.mean_s)
            return np.asarray(late[2:] - np.clip(caught_up * late[1:-1], 0.0, most))
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
            tail = np.where(waits, self._wait(steps), tail)
        short = (draw > 0.5) & (draw < 0.5 + habits.short_share)
        return np.where(short, -np.minimum(habits.short_size * np.exp(0.5 * bell), 0.12), tail)

    def _wait(self, steps: Steps) -> Floats:
        """Logarithm of how many times longer a step takes if it waits, for any of these steps."""
        share = noise.uniform(self.seed, "step time/freeze size", steps)
        size = math.log(LEAST_WAIT) + (math.log(MOST_WAIT) - math.log(LEAST_WAIT)) * share
        size += WAIT_GROWTH * (np.clip(steps / max(self.total_steps, 1), 0.0, 1.0) - 0.5)
        return np.minimum(size, math.log1p(LONGEST_WAIT_S / self.mean_s))

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

    def _aftermath(self, steps: Steps) -> Floats:
        """A pause now and then, and steps that are a little slow until caches, clocks and prefetched data are back."""
        habits = self.habits
        total = np.zeros(len(steps))
        if not habits.pauses:
            return total
        stretches = np.arange(steps[0] // STRETCH - AFTERMATH_STRETCHES, steps[-1] // STRETCH + 1)
        draws = noise.uniform(self.seed, "step time/pause", stretches[:, None], np.arange(3))
        for stretch, (chance, begin, size) in zip(stretches, draws, strict=True):
            if chance >= habits.pauses or stretch < 0:
                continue
            age = steps - stretch * STRETCH - int(begin * STRETCH)
            left = habits.aftermath * np.exp(-np.maximum(age, 0) / habits.aftermath_steps)
            felt = (age >= 0) & (age < AFTERMATH_STRETCHES * STRETCH)
            total += np.where(felt, (0.5 + size) * np.where(age == 0, habits.pause_size, left), 0.0)
        return total

    def _periodic(self, steps: Steps) -> Floats:
        habits, total = self.habits, np.zeros(len(steps))
        if habits.period:
            size = habits.period_size * np.exp(0.15 * noise.normal(self.seed, "step time/period", steps))
            total += np.where((steps + 1) % habits.period == 0, size, 0.0)
            after = min(habits.period_size, 0.05) * habits.after_period
            total += np.where((steps % habits.period == 0) & (steps > 0), after, 0.0)
        if habits.tick:
            rounds = np.floor(np.arange(steps[0], steps[-1] + 2) / habits.tick)
            total += habits.tick_size * (np.diff(rounds) - 1.0 / habits.tick)  # the mean has these duties, too
        return total

    def _warm_up(self, steps: Steps) -> Floats:
        """Factor on the second step, in which some of the first step's work is left."""
        return np.where(steps == 1, self.habits.second_factor, 1.0)

    def _imposed(self, steps: Steps) -> Floats:
        assert self.imposed
        low, high = self.imposed
        slow = noise.persistent(self.seed, "step time/memory", 0.95, steps)
        x = 0.8 * slow + 0.6 * noise.normal(self.seed, "step time/core", steps)
        return low + (high - low) / (1.0 + np.exp(-1.2 * x))
