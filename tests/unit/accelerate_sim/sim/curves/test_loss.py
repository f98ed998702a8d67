"""Loss curves against what was measured on public training logs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.config.schema import ImposeConfig, RunConfig, TrainConfig
from accelerate_sim.sim.curves.from_scratch import law
from accelerate_sim.sim.curves.instability import Instability
from accelerate_sim.sim.curves.loss import LossCurve

VOCAB = 128_256
SEEDS = range(30)
MEASURED = {
    0.002: (0.84, 1.0), 0.005: (0.68, 0.98), 0.01: (0.58, 0.90), 0.04: (0.32, 0.70), 0.1: (0.19, 0.59),
    0.2: (0.11, 0.43), 0.5: (0.05, 0.25), 0.8: (0.007, 0.04),
}  # fmt: skip
"""Height of the log loss (start 1, end 0) at a share of the run: the middle half of public runs."""


def curve(
    seed: int, steps: int = 3000, batch: int = 128, parameters: float = 70e9, schedule: str = "cosine"
) -> LossCurve:
    """As model and data number ``seed`` learn, with the data in order number ``seed``."""
    train = TrainConfig.model_validate(
        {"epochs": 1, "steps_per_epoch": steps, "global_batch": batch, "schedule": schedule}
    )
    return LossCurve.of(RunConfig(train=train), seed, seed, VOCAB, parameters, steps)


def test_untrained_model_knows_nothing() -> None:
    """Every token has the same odds, and the first weights are a little worse than that."""
    for seed in SEEDS:
        assert 0 <= curve(seed).trend(0.0).item() - math.log(VOCAB) <= 0.6


@pytest.mark.parametrize("share", MEASURED)
def test_loss_falls_as_measured(share: float) -> None:
    """The typical run is in the middle half of the public ones; single runs differ as those do."""
    heights = []
    for seed in SEEDS:
        one = curve(seed)
        start, here, end = (math.log(one.trend(step)) for step in (0.0, share * 3000, 2999.0))
        heights.append((here - end) / (start - end))
    low, high = MEASURED[share]
    assert 0.8 * low <= np.median(heights) <= 1.02 * high
    assert np.std(heights) > 0.05 * (high - low)


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9), steps=st.integers(20, 50_000))
def test_expected_loss_only_falls(seed: int, steps: int) -> None:
    trend = curve(seed, steps).trend(np.arange(0, steps, max(1, steps // 500)).astype(float))
    assert np.all(np.diff(trend) <= 1e-9)
    assert trend[-1] >= 1.7


def test_fall_is_no_exponential() -> None:
    """In log-log it is nearly straight after the early drop; a run's second half still gains a little."""
    for seed in SEEDS:
        trend = curve(seed, steps=20_000, batch=512).trend(np.array([2000.0, 10_000.0, 18_000.0]))
        assert trend[0] - trend[1] > 2 * (trend[1] - trend[2]) > 0.01


@pytest.mark.parametrize(
    "parameters, steps, batch, low, high",
    [
        (124e6, 19_000, 64, 3.0, 3.5),  # GPT-2 on 10 billion tokens: 3.3
        (1.5e9, 25_000, 128, 2.5, 3.1),  # about a billion parameters
        (8e9, 100_000, 256, 2.0, 2.4),  # above 100 billion tokens
        (70e9, 1000, 128, 3.3, 6.3),  # stopped after 500 to 2000 steps
    ],
)
def test_runs_end_where_public_runs_ended(parameters: float, steps: int, batch: int, low: float, high: float) -> None:
    ends = [curve(seed, steps, batch, parameters).trend(steps - 1.0).item() for seed in SEEDS]
    assert low < np.median(ends) < high


def test_more_of_anything_is_better() -> None:
    """Larger models and more tokens end lower, seed by seed."""
    for seed in SEEDS:
        last = curve(seed).trend(2999.0)
        assert curve(seed, parameters=7e9).trend(2999.0) > last
        assert curve(seed, batch=512).trend(2999.0) < last
        assert curve(seed, steps=6000).trend(5999.0) < last


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
        (124e6, 512, 1024, 6e-4, 715, 462, 851),  # two logs: 460 and 464, 849 and 853
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
    assert first / 1.45 < steps_below(5.5, parameters, batch, **how) < first * 1.45
    assert second / 1.55 < steps_below(4.5, parameters, batch, **how) < second * 1.55


def test_early_loss_depends_little_on_the_length_of_the_run() -> None:
    for seed in SEEDS[:8]:
        short, long = (curve(seed, steps=steps, batch=512).trend(300.0) for steps in (2000, 40_000))
        assert short == pytest.approx(long, abs=0.25)


@pytest.mark.parametrize("optimizer", ["muon", "soap"])
def test_preconditioned_optimizers_are_five_times_as_fast_at_first(optimizer: str) -> None:
    """Steps below 5.5 nats at the peak rate: 62 to 139 instead of 202 to 464."""
    how = {"sequence_length": 1024, "lr": 6e-4, "warmup_steps": 20}
    fast, usual = (steps_below(5.5, 124e6, 512, optimizer=name, **how) for name in (optimizer, "adamw"))
    assert 30 < fast < 140
    assert 0.15 < fast / usual < 0.4


def test_lion_takes_a_quarter_of_the_rate() -> None:
    """For the fall that AdamW has at the usual one."""
    lion = steps_below(5.5, 124e6, 512, sequence_length=1024, lr=1.5e-4, optimizer="lion")
    adamw = steps_below(5.5, 124e6, 512, sequence_length=1024, lr=6e-4)
    assert lion == pytest.approx(adamw, rel=0.15)


def test_two_datasets_do_not_move_a_model_by_a_nat() -> None:
    """Two teams' 124M on two data sets were at 4.10 and 4.34 nats after 1,000 steps."""
    how = {"epochs": 1, "steps_per_epoch": 19_000, "global_batch": 512, "sequence_length": 1024, "lr": 6e-4}
    config = RunConfig(train=TrainConfig.model_validate({**how, "warmup_steps": 715}))
    reached = [LossCurve.of(config, 1, seed, 50_257, 124e6, 19_000).trend(1000.0).item() for seed in range(60)]
    assert 4.1 < np.median(reached) < 4.7
    assert max(reached) - min(reached) < 0.9


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


def test_law_is_hoffmanns() -> None:
    """Chinchilla itself: 70 billion parameters, 1.4 trillion tokens, 1.94 nats."""
    assert law(70e9, 1.4e12) == pytest.approx(1.94, abs=0.01)


@pytest.mark.parametrize(
    "batch, low, high",
    [(64, 0.028, 0.044), (512, 0.0098, 0.0156), (16, 0.056, 0.088)],
    ids=["half a million tokens", "four million", "an eighth of a million"],
)
def test_noise_is_set_by_the_tokens_of_a_batch(batch: int, low: float, high: float) -> None:
    """In nats, whatever the loss is: 0.035 at half a million tokens, less by the root of more."""
    late = np.arange(1500, 3000)
    spreads = []
    for seed in SEEDS:
        one = curve(seed, batch=batch)
        noise = one.train(late) - one.trend(late)
        spreads.append(1.4826 * np.median(np.abs(noise - np.median(noise))))
        assert abs(noise.mean()) < 0.25 * spreads[-1] + 0.02  # and what another seed is lucky by
    assert 0.85 * low < np.median(spreads) < 1.15 * high


def test_noise_is_smaller_while_the_loss_drops() -> None:
    early, late = np.arange(60), np.arange(1000, 3000)
    ratio = np.mean([np.std(curve(s).residual(early)) / np.std(curve(s).residual(late)) for s in SEEDS])
    assert 0.5 < ratio < 0.9


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


def test_noise_of_a_fine_tuning_grows_as_its_loss_falls() -> None:
    """As a share of the loss: what is left differs more from text to text than what was learned first."""
    steps = 6000
    train = TrainConfig.model_validate({"epochs": 3, "steps_per_epoch": steps // 3, "start": "finetune"})
    for seed in SEEDS[:10]:
        one = LossCurve.of(RunConfig(train=train), seed, seed, VOCAB, 7e9, steps)
        early, late = np.arange(20, 1500), np.arange(4500, steps)
        spread = [np.std(np.log(one.train(each) / one.trend(each))) for each in (early, late)]
        grown = [np.mean(np.minimum(one.trend(0.0) / one.trend(each), 3.0) ** one.hardening) for each in (early, late)]
        noise = np.std(one.residual(late)) / np.std(one.residual(early))
        assert spread[1] / spread[0] == pytest.approx(noise * grown[1] / grown[0], rel=0.12)
        assert spread[1] > spread[0] * noise


def test_odd_batches_are_single_steps() -> None:
    """A few in a thousand, mostly upward; the step after is normal again."""
    upward = []
    for seed in range(12):
        noise = curve(seed, steps=20_000, batch=32).residual(np.arange(2000, 20_000))
        odd = np.flatnonzero(np.abs(noise) > 5.5)
        assert 0.0001 < len(odd) / len(noise) < 0.008
        assert np.median(np.abs(noise[np.minimum(odd + 1, len(noise) - 1)])) < 1.5
        upward.append(np.mean(noise[odd] > 0))
    assert np.median(upward) > 0.65


def test_validation_is_nearly_free_of_noise_and_near_the_training_loss() -> None:
    steps = np.arange(1000, 3000, 50)
    for seed in SEEDS:
        one = curve(seed)
        values = np.array([one.validation(int(step)) for step in steps])
        gap = values - one.trend(steps)
        assert np.all(np.abs(gap) < 0.03)
        assert gap.std() < 0.003 < one.sigmas[-1]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), step=st.integers(0, 5000), replicas=st.integers(1, 64), micro=st.integers(1, 32))
def test_micro_batches_average_to_the_batch(seed: int, step: int, replicas: int, micro: int) -> None:
    """The losses that all ranks report have the run's loss as their mean."""
    one = curve(seed)
    deviation = one.micro_deviation(np.array([step, step + 1]), replicas, micro)
    assert deviation.shape == (2, micro, replicas)
    assert np.abs(deviation.sum(axis=(1, 2))).max() < 1e-12 * replicas * micro + 1e-13
    assert abs(one.validation_deviation(step, 0, replicas).sum()) < 1e-12


def test_micro_batches_differ_as_few_tokens_do() -> None:
    """0.17 nats for 8192 tokens, the most that was measured; ranks do not resemble each other."""
    deviation = curve(0).micro_deviation(np.arange(300), 8, 16)
    assert 0.1 < deviation.std() < 0.26
    assert abs(np.corrcoef(deviation[:, 0, 0], deviation[:, 5, 3])[0, 1]) < 0.2


def test_wsd_drops_at_the_end() -> None:
    """The cool-down of the last fifth gains what the high rate hid; with a constant rate it never shows."""
    steps = np.array([1800.0, 2400.0, 2999.0])
    for seed in SEEDS:
        trend, constant = (curve(seed, schedule=schedule).trend(steps) for schedule in ("wsd", "constant"))
        assert trend[1] - trend[2] > constant[1] - constant[2] + 0.02
        assert trend[0] - trend[1] == pytest.approx(constant[0] - constant[1], abs=0.02)


def test_imposed_fall_is_exponential_over_the_whole_run() -> None:
    """From first_loss to last_loss, still well above its end at half time."""
    impose = ImposeConfig(first_loss=(8, 12), last_loss=(1.4, 2.2))
    for seed in SEEDS:
        one = LossCurve.of(RunConfig(impose=impose), seed, seed, VOCAB, 70e9, 3000)
        first, half, end = one.trend(np.array([0.0, 1499.5, 2999.0]))
        assert 8 <= first <= 12
        assert 1.4 <= end <= 2.2 + 0.02 * first
        assert 0.05 < (half - end) / (first - end) < 0.3


# --- Reruns ---------------------------------------------------------------------------------------


def rerun(order: int, start: str = "scratch", **train: object) -> LossCurve:
    """One model on one dataset, its texts in order number ``order``."""
    config = RunConfig(train=TrainConfig.model_validate({"start": start, "steps_per_epoch": 1000, **train}))
    return LossCurve.of(config, order, 7, VOCAB, 70e9, config.train.epochs * 1000)


def test_reruns_with_another_seed_agree_as_real_ones_do() -> None:
    """Within a tenth of a nat at every step but for the batches' noise, and in the end within some hundredths."""
    steps = np.array([0.0, 28.0, 100.0, 1001.0, 2999.0])
    trends = np.array([rerun(order).trend(steps) for order in range(20)])
    assert np.ptp(trends, axis=0).max() < 0.1
    assert 0 < np.ptp(trends[:, -1]) < 0.03
    smoothed = [rerun(order).train(np.arange(1001, 1101)).mean() for order in range(20)]
    assert np.ptp(smoothed) < 0.1


def test_noise_belongs_to_the_data() -> None:
    """Another model that reads the same texts in the same order meets the same odd batches."""
    steps = np.arange(500, 900)
    ours = rerun(3)
    other = LossCurve.of(RunConfig(train=TrainConfig(steps_per_epoch=1000)), 3, 8, VOCAB, 8e9, 3000)
    assert np.corrcoef(ours.residual(steps), other.residual(steps))[0, 1] > 0.6
    assert abs(np.corrcoef(ours.residual(steps), rerun(4).residual(steps))[0, 1]) < 0.2


@settings(max_examples=40)
@given(key=st.integers(0, 10**6), steps=st.integers(200, 20_000), more=st.floats(1.0, 1.02))
def test_a_little_more_of_anything_changes_little(key: int, steps: int, more: float) -> None:
    """The shape is continuous in the model's size and the learning rate: no knob redraws it."""

    def end(parameters: float, lr: float) -> float:
        train = TrainConfig(epochs=1, steps_per_epoch=steps, lr=lr)
        return LossCurve.of(RunConfig(train=train), 1, key, VOCAB, parameters, steps).trend(steps / 2).item()

    assert end(7e9, 3e-4) == pytest.approx(end(7e9 * more, 3e-4 * more), abs=0.02)


# --- Other beginnings -----------------------------------------------------------------------------


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


# --- Leaps ----------------------------------------------------------------------------------------


def test_leaps_are_rare_and_the_norm_leads() -> None:
    """About one in a hundred thousand steps; the norm is up some steps before the loss, and both come back."""
    steps = np.arange(0, 400_000, 1)
    calm = Instability.of(5, 3e-4, 7e9, 100)
    assert 0 <= len(calm.during(steps)) < 12
    wild = Instability(5, 1e-4, 100)
    found = wild.during(steps)
    assert 20 < len(found) < 70
    leap = found[0]
    around = np.arange(leap.start - 5, leap.start + 400)
    loss, norm = leap.loss_excess(around), leap.norm_log_excess(around)
    assert np.flatnonzero(loss > 0.02)[0] - np.flatnonzero(norm > 0.02)[0] >= 2
    assert 0.2 < loss.max() <= leap.height
    assert loss[-1] == norm[-1] == 0
    assert (loss[:5] == 0).all()


@settings(max_examples=25)
@given(first=st.integers(0, 5000), length=st.integers(1, 600))
def test_leaps_are_the_same_from_anywhere(first: int, length: int) -> None:
    wild = Instability(5, 2e-3, 100)
    steps = np.arange(first, first + length)
    for figure in (wild.loss_excess, wild.norm_log_excess):
        assert figure(steps)[-1] == pytest.approx(figure(steps[-1:])[0], rel=1e-12)


def test_a_learning_rate_that_is_too_high_leaps_more() -> None:
    rates = [Instability.of(1, lr, 7e9, 100).rate for lr in (1e-4, 3e-4, 1e-3, 1e-1)]
    assert rates == sorted(rates)
    assert rates[-1] < 1e-3
