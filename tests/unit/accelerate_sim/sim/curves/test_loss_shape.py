"""Expected losses that go on from weights, or that a config imposes."""

from __future__ import annotations

import numpy as np
import pytest

from accelerate_sim.config.schema import ImposeConfig, RunConfig, TrainConfig
from accelerate_sim.sim.curves.loss import LossCurve
from accelerate_sim.sim.curves.loss_shape import FineTuned
from tests.support.loss_curves import SEEDS, VOCAB


def test_loss_of_a_fine_tuning_is_flat_where_its_rate_is() -> None:
    """A cosine down to nothing ends flat; a constant rate goes on learning."""
    for seed in SEEDS[:8]:
        cosine, constant = (
            LossCurve.of(
                RunConfig(
                    train=TrainConfig.model_validate(
                        {"start": "finetune", "epochs": 1, "steps_per_epoch": 2000, "min_lr": 0.0, "schedule": schedule}
                    )
                ),
                seed, seed, VOCAB, 7e9, 2000,
            ).trend(np.array([1800.0, 1999.0]))
            for schedule in ("cosine", "constant")
        )  # fmt: skip
        assert cosine[0] - cosine[1] < 0.4 * (constant[0] - constant[1]) + 1e-6


def test_loss_with_a_tokenizer_of_others_is_high_and_flat_at_first() -> None:
    """Nothing else about the data does that: with its own tokens a checkpoint goes on where it was."""
    train = TrainConfig.model_validate({"epochs": 1, "steps_per_epoch": 400, "start": "checkpoint"})
    for seed in SEEDS:
        own, one = (
            LossCurve.of(RunConfig(train=train), seed, seed, VOCAB, 405e9, 400, retokenized=retokenized)
            for retokenized in (False, True)
        )
        assert one.trend(0.0) > own.trend(0.0) + 4.0
        assert one.trend(0.0) - one.trend(20.0) < 0.05
        assert 0.2 < (one.trend(0.0) - one.trend(200.0)) / (one.trend(0.0) - one.trend(399.0)) < 0.8
        assert own.trend(0.0) - own.trend(399.0) < 0.13


def test_imposed_fall_is_exponential_over_the_whole_run() -> None:
    """From first_loss to last_loss, still well above its end at half time."""
    impose = ImposeConfig(first_loss=(8, 12), last_loss=(1.4, 2.2))
    for seed in SEEDS:
        one = LossCurve.of(RunConfig(impose=impose), seed, seed, VOCAB, 70e9, 3000)
        first, half, end = one.trend(np.array([0.0, 1499.5, 2999.0]))
        assert 8 <= first <= 12
        assert 1.4 <= end <= 2.2 + 0.02 * first
        assert 0.05 < (half - end) / (first - end) < 0.3


@pytest.mark.parametrize("key", range(12))
def test_a_checkpoint_is_no_new_beginning(key: int) -> None:
    """It goes on where it was, or falls from what strange data cost at first; never from the odds of all tokens."""
    train = TrainConfig(start="checkpoint", epochs=1, steps_per_epoch=300, warmup_steps=20)
    trend = LossCurve.of(RunConfig(train=train), 1, key, VOCAB, 405e9, 300).trend(np.arange(300))
    assert 1.7 < trend[-1] < trend[0] < 8
    assert trend[0] - trend[15] < 0.25  # the rate is still warming up
    assert (0.05 < trend[0] - trend[-1] < 0.13) or trend[0] - trend[-1] > 1


@pytest.mark.parametrize("key", range(12))
def test_each_pass_of_a_fine_tuning_is_a_step_down_and_validation_turns_up(key: int) -> None:
    train = TrainConfig(start="finetune", epochs=3, steps_per_epoch=400, global_batch=64)
    one = LossCurve.of(RunConfig(train=train), 1, key, VOCAB, 8e9, 1200)
    trend = one.trend(np.arange(1200))
    for boundary in (400, 800):
        assert 0.55 < trend[boundary] / trend[boundary - 1] < 0.92
    validation = [one.validation(step) for step in (400, 800, 1200)]
    assert validation[2] > validation[0] - 0.25
    assert validation[2] - trend[-1] > validation[0] - trend[399] > -0.05
    noise = np.log(one.train(np.arange(400)) / trend[:400])
    assert 0.02 < noise.std() < 0.25


@pytest.mark.parametrize("key", range(8))
def test_the_first_fall_of_a_fine_tuning_takes_steps_and_no_share_of_the_run(key: int) -> None:
    """In a run of 16,000 steps as in one of 1,500, half of it is done after 60 steps at the peak rate."""
    fallen, steps = [], set()
    for total in (1500, 16_000):
        train = TrainConfig(start="finetune", epochs=1, steps_per_epoch=total, warmup_steps=0)
        one = LossCurve.of(RunConfig(train=train), 1, key, VOCAB, 7e9, total).shape
        first, later, settled = one.at(np.array([0.0, 60.0, 600.0]))
        fallen.append((first - later) / (first - settled))
        assert isinstance(one, FineTuned)
        steps.add(one.first_steps)
    assert min(fallen) > 0.4
    assert len(steps) == 1


def test_a_tokenizer_of_others_is_learned_ever_more_slowly() -> None:
    """Logs of 405B from a checkpoint have a fifth of their fall left at 70 % of the run, and a twentieth at 90 %."""
    train = TrainConfig.model_validate({"epochs": 1, "steps_per_epoch": 400, "start": "checkpoint"})
    left = []
    for seed in SEEDS:
        one = LossCurve.of(RunConfig(train=train), seed, seed, VOCAB, 405e9, 400, retokenized=True)
        first, most, nearly, last = one.trend(np.array([0.0, 280.0, 360.0, 399.0]))
        left.append(((most - last) / (first - last), (nearly - last) / (first - last)))
    assert np.median(left, axis=0) == pytest.approx([0.19, 0.05], abs=0.03)
