"""Training and validation loss: a scaling law, the early fall, what the learning rate hides, and the batch's noise.

Shapes and ranges were measured on public training logs from 16M to 405B parameters. Two facts carry most of the
realism: the fall is a power law with an early drop, not an exponential, and the noise is constant in nats, set by the
number of tokens behind one logged value.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Floats

Steps = NDArray[np.int64]

NOISE_AT_HALF_MILLION_TOKENS = (0.028, 0.044)
"""Standard deviation, in nats, of a loss that is the mean over 5e5 tokens."""
VALIDATION_NOISE = 0.0012
LOWEST = 1.7
"""Nats; the entropy of text, below which no published pretraining run went."""


def law(parameters: float, tokens: float) -> float:
    """Loss of a model of this size after this many tokens (Hoffmann et al. 2022, rounded constants)."""
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28)


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
        train = config.train
        step_tokens = train.global_batch * train.sequence_length
        draw, log = _draws(seed)
        first = np.log(vocab) + draw("first", 0.1, 0.6)
        plateau = min(draw("plateau", 6.6, 7.8), 0.85 * first)
        last = min(law(active_parameters, step_tokens * total_steps) + draw("luck", -0.04, 0.06), plateau - 0.3)
        straight = noise.chance(seed, "loss/straight", 0.4)
        slow = log("slow", 0.004, 0.01) if straight else log("slow", 0.02, 0.25)
        power = draw("power", 0.3, 0.6) if straight else draw("power", 0.7, 1.8)
        gain = log("gain", 0.02, 0.2) * last / 3.2 * (0.0 if train.schedule == "constant" else 1.0)
        left = (1.0 + total_steps / max(slow * total_steps, 1.0)) ** -power
        sigma = draw("sigma", *NOISE_AT_HALF_MILLION_TOKENS)
        curve = dict(
            seed=seed, total_steps=total_steps, first=first, plateau=plateau,
            floor=(last + gain - plateau * left) / (1.0 - left),
            early_steps=min(log("early", 12, 90) * max(1.0, np.sqrt(total_steps / 8000)), total_steps / 4 + 2),
            early_power=draw("early power", 1.3, 3.0), slow_steps=max(slow * total_steps, 1.0), slow_power=power,
            cooldown_gain=gain, cooldown_start=0.8 if train.schedule == "wsd" else draw("cooldown", 0.1, 0.5),
            cooldown_power=1.1 if train.schedule == "wsd" else draw("cooldown power", 1.3, 1.6),
            gap=draw("gap", -0.015, 0.02), sigma=_sigma(sigma, step_tokens),
            micro_sigma=_sigma(sigma, train.micro_batch * train.sequence_length),
            skew=0.0 if step_tokens > 1e6 else draw("skew", 0.45, 0.75),
            wander=draw("wander", 0.2, 0.4) if noise.chance(seed, "loss/shards", 0.33) else 0.0,
        )
        if config.impose.first_loss:
            imposed_first, imposed_last = draw("first", *config.impose.first_loss), draw("last", *config.impose.last_loss)
            curve |= dict(exponential=True, first=imposed_first, floor=imposed_last, sigma=0.006 * imposed_first,
                          cooldown_gain=0.0, micro_sigma=0.05 * imposed_first)
        return cls(**{name: value if isinstance(value, (bool, int)) else float(value) for name, value in curve.items()})

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
        size = (2.5 - 2.0 * np.log(noise.uniform(self.seed, "loss/odd size", steps))) * np.where(odd < 0.0006, -1.0, 1.0)
        white = np.where(odd < 0.003, size, white)
        if self.wander:
            slow = noise.persistent(self.seed, "loss/wander", 0.93, steps)
            white = np.sqrt(1.0 - self.wander) * white + np.sqrt(self.wander) * slow
        settled = 0.6 + 0.4 * np.clip(steps / (3.0 * self.early_steps), 0.0, 1.0)
        return np.asarray(white * settled)

    def train(self, steps: Steps) -> Floats:
        """Loss of consecutive global batches, the mean over all ranks and micro-batches."""
        return np.asarray(np.maximum(self.trend(steps) + self.sigma * self.residual(steps), 0.05))

    def micro_deviation(self, step: int, replicas: int, micro_batches: int) -> Floats:
        """How the micro-batches of a step differ from their mean. Shape [micro_batches, replicas], sum 0.

        Each is the difference of two neighbours in a ring of independent normals, so the whole adds up to nothing.
        """
        ring = np.arange(micro_batches * replicas)
        own = noise.normal(self.seed, "loss/micro", step, ring)
        return np.asarray((own - np.roll(own, -1)) * (self.micro_sigma / np.sqrt(2.0))).reshape(micro_batches, replicas)

    def validation(self, step: int) -> float:
        """Validation loss after ``step`` updates: a fixed set, so nearly free of noise."""
        wobble = float(noise.normal(self.seed, "loss/validation", step)[0])
        return float(max(self.trend(float(step)) + self.gap + VALIDATION_NOISE * wobble, LOWEST / 2))

    def validation_deviation(self, step: int, batch: int, replicas: int) -> Floats:
        """How validation micro-batches of the replicas differ from their mean. Shape [replicas], sum 0."""
        own = noise.normal(self.seed, "loss/validation batch", batch, np.arange(replicas))
        return np.asarray((own - np.roll(own, -1)) * (self.micro_sigma / np.sqrt(2.0)))


def _sigma(at_half_million: float, tokens: float) -> float:
    return float(np.clip(at_half_million * np.sqrt(5e5 / tokens), 0.006, 0.25))


def _draws(seed: int): # type: ignore[no-untyped-def]
    return (
        lambda name, low, high: noise.draw(seed, "loss/" + name, low, high),
        lambda name, low, high: noise.draw_log(seed, "loss/" + name, low, high),
    )
