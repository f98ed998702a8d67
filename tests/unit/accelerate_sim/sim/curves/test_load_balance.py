"""The load-balancing loss of mixtures of experts."""

from __future__ import annotations

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim.curves.load_balance import LoadBalance
from accelerate_sim.sim.run import Run


@pytest.mark.parametrize("seed", range(8))
def test_a_fresh_router_is_even_then_prefers_some_then_settles(seed: int) -> None:
    train = TrainConfig(warmup_steps=200, lr=3e-4)
    loss = LoadBalance.of(train, seed, seed, 3000, 12.9e9).values(np.arange(3000))
    assert loss.min() > 1.0
    assert loss[:10].mean() < 1.09
    assert loss.argmax() > 100
    assert loss.max() > loss[:10].mean() + 0.02
    assert loss[2500:].mean() < loss.max()


def test_a_trained_router_stays_even() -> None:
    loss = LoadBalance.of(TrainConfig(start="finetune"), 1, 1, 1000, 12.9e9).values(np.arange(1000))
    assert 1.0 < loss.min() < loss.max() < 1.1


def test_only_mixtures_of_experts_have_one() -> None:
    dense, mixture = (
        Run(RunConfig.model_validate({"model": model, "parallel": {"tensor": 8}}))
        for model in ("llama-3-8b", "mixtral-8x7b")
    )
    assert dense.load_balancing_loss(3) is None
    found = mixture.load_balancing_loss(3)
    assert found is not None
    assert 1.0 < found < 1.5
    assert found == mixture.load_balancing_loss(3)
