"""Training and validation loss: a scaling law, the early fall, what the learning rate hides, and the batch's noise.

Shapes and ranges were measured on public training logs from 16M to 405B parameters. Two facts carry most of the
realism: the fall is a power law with an early drop, not an exponential, and the noise is constant in nats, set by the
number of tokens behind one logged value.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.config.schema import ImposeConfig, RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Draws, Floats

Steps = NDArray[np.int64]

NOISE_AT_HALF_MILLION_TOKENS = (0.028, 0.044)
"""Standard deviation, in nats, of a loss that is the mean over 5e5 tokens."""
VALIDATION_NOISE = 0.0012
LOWEST = 1.7
"""Nats; the entropy of text, below which no published pretraining run went."""


def law(parameters: float, tokens: float) -> float:
    """Loss of a model of this size after this many tokens (Hoffmann et al. 2022, rounded constants)."""
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28)


def too_few_steps(steps: int) -> float:
    """What the law does not know: tokens in few, large steps teach less. Runs of 500-2000 steps ended at 3.3 to 6."""
    return float(2.2 * (200.0 / max(steps, 200)) ** 0.85)


@dataclass(frozen=True)
class LossCurve:
    """The parameters of one run's loss. Losses are in nats per token; steps count from 0."""

    seed: int
    total_steps: int
    first: float
    plateau: float
    """Where the early fall ends: the model knows how often each token occurs, and little else."""
    floor: float
    early_steps: float
    early_power: float
    slow_steps: float
    slow_power: float
    cooldown_gain: float
    cooldown_start: float
    cooldown_power: float
    gap: float
    """Validation minus training."""
    sigma: float
    """Noise of the global batch's loss."""
    micro_sigma: float
    """Noise of one micro-batch's loss."""
    skew: float
    wander: float
    """Share of the noise's variance that persists from step to step (unshuffled shards)."""
    exponential: bool = False

    @classmethod
    def of(cls, config: RunConfig, seed: int, vocab: int, active_parameters: float, total_steps: int) -> "LossCurve":
        train, draws = config.train, Draws(seed, "loss")
        step_tokens = train.global_batch * train.sequence_length
        first = math.log(vocab) + draws.between("first", 0.1, 0.6)
        plateau = min(draws.between("plateau", 6.6, 7.8), 0.85 * first)
        reached = law(active_parameters, step_tokens * total_steps) + too_few_steps(total_steps)
        last = min(reached + draws.between("luck", -0.04, 0.06), plateau - 0.3)
        straight = draws.chance("straight", 0.4)  # straight in log-log; otherwise it bends
        slow_steps = max(
            total_steps * (draws.log("slow", 0.004, 0.01) if straight else draws.log("slow", 0.02, 0.25)), 1
        )
        slow_power = draws.between("power", 0.3, 0.6) if straight else draws.between("power", 0.7, 1.8)
        stable = train.schedule == "wsd"
        # A rate that stays high hides more, which shows all at once in the cool-down.
        gain = draws.log("gain", 0.08, 0.25) if stable else draws.log("gain", 0.02, 0.2)
        # Less than what there is to fall, which in a run of few steps is little.
        gain = 0.0 if train.schedule == "constant" else min(gain * last / 3.2, 0.5 * (plateau - last))
        left = (1.0 + total_steps / slow_steps) ** -slow_power
        sigma = draws.between("sigma", *NOISE_AT_HALF_MILLION_TOKENS)
        curve = cls(
            seed=seed,
            total_steps=total_steps,
            first=first,
            plateau=plateau,
            floor=(last + gain - plateau * left) / (1.0 - left),
            early_steps=min(draws.log("early", 12, 90) * max(1.0, math.sqrt(total_steps / 8000)), total_steps / 4 + 2),
            early_power=draws.between("early power", 1.3, 3.0),
            slow_steps=slow_steps,
            slow_power=slow_power,
            cooldown_gain=gain,
            cooldown_start=0.8 if stable else draws.between("cooldown", 0.1, 0.5),
            cooldown_power=1.1 if stable else draws.between("cooldown power", 1.3, 1.6),
            gap=draws.between("gap", -0.015, 0.02),
            sigma=_sigma(sigma, step_tokens),
            micro_sigma=_sigma(sigma, train.micro_batch * train.sequence_length),
            skew=0.0 if step_tokens > 1e6 else draws.between("skew", 0.45, 0.75),
            wander=draws.between("wander", 0.2, 0.4) if draws.chance("shards", 0.33) else 0.0,
        )
        return curve._imposed(config.impose, draws)

    def _imposed(self, impose: ImposeConfig, draws: Draws) -> "LossCurve":
        """The exponential fall that was asked for instead, if one was."""
        if impose.first_loss is None:
            return self
        first = draws.between("imposed first", *impose.first_loss)
        last = draws.between("imposed last", *impose.last_loss)
        return replace(
            self,
            exponential=True,
            first=first,
            floor=last,
            sigma=0.006 * first,
            micro_sigma=0.05 * first,
            cooldown_gain=0.0,
        )

    def trend(self, step: NDArray[np.float64] | Steps | float) -> Floats:
        """Expected training loss of optimizer step ``step``, before its update."""
        step = np.asarray(step, float)
        done = step / max(self.total_steps - 1, 1)
        if self.exponential:
            return np.asarray(self.floor + (self.first - self.floor) * np.exp(-4.0 * done))
        slow = (self.plateau - self.floor) * (1.0 + step / self.slow_steps) ** -self.slow_power
        early = (self.first - self.plateau) / (1.0 + (step / self.early_steps) ** self.early_power)
        cooled = np.maximum(0.0, (done - self.cooldown_start) / (1.0 - self.cooldown_start)) ** self.cooldown_power
        return np.maximum(self.floor + slow + early - self.cooldown_gain * cooled, LOWEST)

    def residual(self, steps: Steps) -> Floats:
        """Noise of consecutive global batches in units of sigma. It belongs to the data: a rerun replays it."""
        white = noise.skewed(self.seed, "loss/batch", self.skew, steps)
        odd = noise.uniform(self.seed, "loss/odd", steps)
        # One batch in a few hundred is unlike the rest; the next one is normal again.
        size = (2.5 - 2.0 * np.log(noise.uniform(self.seed, "loss/odd size", steps))) * np.where(
            odd < 0.0006, -1.0, 1.0
        )
        white = np.where(odd < 0.003, size, white)
        if self.wander:
            slow = noise.persistent(self.seed, "loss/wander", 0.93, steps)
            white = np.sqrt(1.0 - self.wander) * white + np.sqrt(self.wander) * slow
        settled = 0.6 + 0.4 * np.clip(steps / (3.0 * self.early_steps), 0.0, 1.0)
        return np.asarray(white * settled)

    def train(self, steps: Steps) -> Floats:
        """Loss of consecutive global batches, the mean over all ranks and micro-batches."""
        return np.asarray(np.maximum(self.trend(steps) + self.sigma * self.residual(steps), 0.05))

    def micro_deviation(self, steps: Steps, replicas: int, micro_batches: int) -> Floats:
        """How the micro-batches of steps differ from their mean. Shape [steps, micro_batches, replicas], sum 0 a step.

        Each is the difference of two neighbours in a ring of independent normals, so the whole adds up to nothing.
        """
        own = noise.normal(self.seed, "loss/micro", steps[:, None], np.arange(micro_batches * replicas))
        own *= self.micro_sigma / np.sqrt(2.0)
        return _ring_differences(own).reshape(len(steps), micro_batches, replicas)

    def validation(self, step: int) -> float:
        """Validation loss after ``step`` updates: a fixed set, so nearly free of noise."""
        wobble = float(noise.normal(self.seed, "loss/validation", step)[0])
        return max(float(self.trend(float(step))) + self.gap + VALIDATION_NOISE * wobble, LOWEST / 2)

    def validation_deviation(self, step: int, batch: int, replicas: int) -> Floats:
        """How validation micro-batches of the replicas differ from their mean. Shape [replicas], sum 0."""
        own = noise.normal(self.seed, "loss/validation batch", batch, np.arange(replicas))
        return _ring_differences(own * (self.micro_sigma / np.sqrt(2.0)))


def _ring_differences(own: Floats) -> Floats:
    """Each element less the next one along the last axis, the last less the first."""
    result = np.empty_like(own)
    np.subtract(own[..., :-1], own[..., 1:], out=result[..., :-1])
    np.subtract(own[..., -1], own[..., 0], out=result[..., -1])
    return result


def _sigma(at_half_million: float, tokens: float) -> float:
    return min(max(at_half_million * math.sqrt(5e5 / tokens), 0.006), 0.25)
