"""Loss curves of a large model on numbered data sets, for tests of their shape and noise."""

from __future__ import annotations

from accelerate_sim.config.schema import RunConfig, TrainConfig
from accelerate_sim.sim.curves.loss import LossCurve

VOCAB = 128_256
SEEDS = range(30)


def curve(
    seed: int, steps: int = 3000, batch: int = 128, parameters: float = 70e9, schedule: str = "cosine"
) -> LossCurve:
    """As model and data number ``seed`` learn, with the data in order number ``seed``."""
    train = TrainConfig.model_validate(
        {"epochs": 1, "steps_per_epoch": steps, "global_batch": batch, "schedule": schedule}
    )
    return LossCurve.of(RunConfig(train=train), seed, seed, VOCAB, parameters, steps)
