"""The first thousand steps of a run from scratch, against public training logs."""

from __future__ import annotations

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig, TrainConfig
from accelerate_sim.sim.curves.from_scratch import FromScratch
from accelerate_sim.sim.curves.loss import LossCurve
from tests.support.loss_curves import SEEDS, VOCAB, curve


def steps_below(nats: float, parameters: float, batch: int, **train: object) -> float:
    """Median over data sets of the steps until the expected loss is below ``nats``."""
    found = []
    for seed in SEEDS:
        config = TrainConfig.model_validate({"epochs": 1, "steps_per_epoch": 6000, "global_batch": batch, **train})
        one = LossCurve.of(RunConfig(train=config), seed, seed, 50_257, parameters, 6000)
        found.append(int(np.argmax(one.trend(np.arange(6000)) < nats)))
    return float(np.median(found))


@pytest.mark.parametrize(
    ("parameters", "batch", "length", "lr", "warmup", "first", "second"),
    [
        (124e6, 512, 1024, 6e-4, 715, 462, 851),  # five logs: 431 to 487, 771 to 951
        (124e6, 512, 1024, 1.8e-3, 250, 202, 453),
        (8e9, 32, 8192, 8e-4, 128, 431, 783),  # two: 415 and 447, 767 and 799
        (8e9, 16, 8192, 4e-4, 256, 687, 1223),  # four: 639 to 703, 1183 to 1247
        (15e9, 384, 4096, 4.5e-4, 500, 480, 850),
    ],
)
def test_early_loss_is_that_of_public_logs(
    parameters: float, batch: int, length: int, lr: float, warmup: int, first: int, second: int
) -> None:
    """Steps below 5.5 and 4.5 nats, whatever the length of the run and the batch."""
    how = {"sequence_length": length, "lr": lr, "warmup_steps": warmup}
    assert first / 1.2 < steps_below(5.5, parameters, batch, **how) < first * 1.2
    assert second / 1.15 < steps_below(4.5, parameters, batch, **how) < second * 1.15


def test_early_loss_depends_little_on_the_length_of_the_run() -> None:
    for seed in SEEDS[:8]:
        short, long = (curve(seed, steps=steps, batch=512).trend(300.0) for steps in (2000, 40_000))
        assert short == pytest.approx(long, abs=0.25)


@pytest.mark.parametrize("optimizer, lr", [("muon", 1.8e-3), ("soap", 3e-3)])
def test_preconditioned_optimizers_are_three_times_as_fast_at_first(optimizer: str, lr: float) -> None:
    """Steps until the loss is below 5.5 nats, each at its usual rate: 59 to 139 in six logs, instead of 202 to 464."""
    fast = steps_below(5.5, 124e6, 512, optimizer=optimizer, lr=lr, sequence_length=1024, warmup_steps=100)
    usual = steps_below(5.5, 124e6, 512, sequence_length=1024, lr=6e-4, warmup_steps=700)
    assert 59 < fast < 139
    assert 0.1 < fast / usual < 0.45


def test_lion_takes_a_quarter_of_the_rate() -> None:
    """For the fall that AdamW has at the usual one."""
    lion = steps_below(5.5, 124e6, 512, sequence_length=1024, lr=1.5e-4, optimizer="lion")
    adamw = steps_below(5.5, 124e6, 512, sequence_length=1024, lr=6e-4)
    assert lion == pytest.approx(adamw, rel=0.15)


def test_nothing_is_learned_and_no_batch_is_odd_while_the_rate_is_tiny() -> None:
    """The longer the warm-up, the later the fall; to a model that knows nothing all texts are equally hard."""
    raw = {"epochs": 1, "steps_per_epoch": 5000, "global_batch": 128}
    for seed in SEEDS:
        slow, fast = (
            LossCurve.of(
                RunConfig(train=TrainConfig.model_validate({**raw, "warmup_steps": warmup})),
                seed,
                seed,
                VOCAB,
                1e9,
                5000,
            )
            for warmup in (2000, 20)
        )
        assert slow.trend(0.0) - slow.trend(3.0) < 0.15
        assert slow.trend(20.0) > fast.trend(20.0) + 0.3
        assert np.std(slow.residual(np.arange(3))) < 0.3
        assert 0.7 < np.std(slow.residual(np.arange(3000, 5000))) < 2.0


@pytest.mark.parametrize("vocab", [48, 65, 256])
def test_characters_are_known_by_their_frequency_at_two_and_a_half_nats(vocab: int) -> None:
    """Logs of 0.8M and 10.7M parameters, on 48 and 65 characters, stay near 2.4 to 2.5 nats for a hundred steps."""
    config = {"epochs": 1, "steps_per_epoch": 4000, "sequence_length": 256, "global_batch": 64, "lr": 1e-3}
    train = RunConfig(train=TrainConfig.model_validate(config))
    shapes = [LossCurve.of(train, 1, key, vocab, 10.7e6, 4000).shape for key in SEEDS]
    assert np.median([shape.plateau for shape in shapes if isinstance(shape, FromScratch)]) == pytest.approx(
        2.45, abs=0.1
    )
