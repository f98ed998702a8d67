"""Losses of runs from scratch that read a data set many times."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from accelerate_sim import catalog
from accelerate_sim.config.schema import RunConfig, TrainConfig
from accelerate_sim.sim.curves.from_scratch import FromScratch
from accelerate_sim.sim.curves.loss import LossCurve
from accelerate_sim.sim.curves.repeated_texts import RepeatedTexts
from accelerate_sim.sim.curves.texts import UNKNOWN_TEXTS, Texts
from accelerate_sim.sim.noise import Draws, Floats

CHARACTERS = {"sequence_length": 256, "global_batch": 64, "lr": 1e-3, "min_lr": 1e-4, "warmup_steps": 100}
"""nanoGPT's run on the characters of Shakespeare: 61 steps of 16,384 read a million of them once."""
ONE_STORY = {"sequence_length": 256, "global_batch": 2, "lr": 4e-4, "schedule": "constant", "warmup_steps": 0}
"""The run of a book on language models: 9 steps of 512 tokens read a story once."""


@cache
def run(
    parameters: float, vocab: int, epochs: int, steps: int, key: int, texts: Texts = UNKNOWN_TEXTS, **how: object
) -> LossCurve:
    train = TrainConfig.model_validate({"epochs": epochs, "steps_per_epoch": steps, **how})
    return LossCurve.of(RunConfig(train=train), 1, key, vocab, parameters, epochs * steps, texts=texts)


def shape(curve: LossCurve) -> FromScratch:
    assert isinstance(curve.shape, FromScratch)
    return curve.shape


def median(curves: list[LossCurve], steps: Floats) -> tuple[Floats, Floats]:
    """Expected losses on texts that are trained on, and on others, of the typical data set."""
    both = [(one.shape.at(steps), one.shape.unseen(steps)) for one in curves]
    return np.median([one for one, _ in both], axis=0), np.median([other for _, other in both], axis=0)


def test_a_run_of_one_pass_or_three_over_much_text_is_as_if_all_were_new() -> None:
    """To the last bit; in the first passes of a longer run, too."""
    steps = np.arange(0.0, 3000.0, 50.0)
    for parameters in (124e6, 8e9, 70e9):
        one, three, many = (run(parameters, 128_256, epochs, 3000 // epochs, 5) for epochs in (1, 3, 100))
        assert shape(one).repeated is None
        assert shape(three).repeated is None
        assert np.array_equal(one.shape.at(steps), three.shape.at(steps))
        assert np.array_equal(one.shape.unseen(steps), one.shape.at(steps))
        constant = replace(shape(many), repeated=None)
        first = steps[steps <= 30.0]
        assert np.array_equal(many.shape.at(first), constant.at(first))
        assert (shape(many).memorised(first) == 0.0).all()


def test_characters_that_are_read_80_times_are_memorised() -> None:
    """10.7M parameters on a million of them, in six logs: 25 % below others after 28 passes, 54 to 64 % after 80.

    The validation loss is least after 28 to 41 passes, and 12 to 16 % higher in the end.
    """
    curves = [run(10.7e6, 65, 82, 61, key, **CHARACTERS) for key in range(12)]
    steps = np.arange(0.0, 82 * 61.0, 61.0)
    trained, other = median(curves, steps)
    assert trained[4] == pytest.approx(other[4], rel=0.01)
    assert 1.0 - trained[28] / other[28] == pytest.approx(0.2, abs=0.1)
    assert 1.0 - trained[80] / other[80] == pytest.approx(0.6, abs=0.12)
    assert 18 <= np.argmin(other) <= 42
    assert other.min() == pytest.approx(1.47, abs=0.15)
    assert other[80] / other.min() == pytest.approx(1.16, abs=0.08)


def test_a_lower_rate_memorises_later() -> None:
    """13 logs of the same model at 3e-4: 16 to 24 % below others after 41 passes and 28 to 46 % after 80."""
    how = {**CHARACTERS, "lr": 3e-4, "min_lr": 3e-4}
    trained, other = median([run(10.7e6, 65, 82, 61, key, **how) for key in range(12)], np.array([2500.0, 5000.0]))
    assert 1.0 - trained / other == pytest.approx([0.16, 0.33], abs=0.1)
    assert other[1] == pytest.approx(1.48, abs=0.1)


def test_few_steps_a_pass_memorise_later() -> None:
    """0.8M on 10,331 characters, 5 steps of 3e-4 a pass: 14 % below others after 100 passes, 64 % after 200."""
    how = {"sequence_length": 64, "global_batch": 32, "lr": 3e-4, "schedule": "constant", "warmup_steps": 0}
    trained, other = median(
        [run(0.81e6, 48, 200, 5, key, **how) for key in range(12)], np.array([100.0, 500.0, 1000.0])
    )
    assert 1.0 - trained / other == pytest.approx([0.0, 0.22, 0.64], abs=0.12)


def test_a_larger_model_overfits_sooner() -> None:
    """On the same characters 12 layers have their least validation loss after 20 passes, 6 layers after 28."""
    steps = np.arange(0.0, 82 * 61.0, 61.0)
    least = [
        np.argmin(median([run(parameters, 65, 82, 61, key, **CHARACTERS) for key in range(12)], steps)[1])
        for parameters in (10.7e6, 21.3e6)
    ]
    assert 0.55 < least[1] / least[0] < 0.97


def test_one_story_is_known_by_heart_after_ten_passes() -> None:
    """162M on its 4,608 tokens, the training loss over the validation loss of five logs.

    0.85 to 0.9 after 20 steps, 0.65 to 0.8 after 35, 0.38 to 0.6 after 50, 0.04 to 0.18 after 85.
    """
    curves = [run(162e6, 50_257, 10, 9, key, **ONE_STORY) for key in range(12)]
    trained, other = median(curves, np.array([20.0, 35.0, 50.0, 85.0]))
    assert trained / other == pytest.approx([0.9, 0.67, 0.43, 0.12], abs=0.12)
    assert 1.0 < other[3] / other[1] < 1.12


def test_what_is_memorised_is_nearly_free_of_loss_and_noise() -> None:
    """124M on a work of 300,000 tokens: a few hundredths after 100 passes, not always the same."""
    how = {"sequence_length": 256, "global_batch": 64, "lr": 6e-4, "warmup_steps": 100}
    curve = run(124e6, 50_257, 120, 18, 3, **how)
    late = curve.train(np.arange(2100, 2160))
    assert 0.05 < late.mean() < 0.3
    assert 0.0005 < late.std() < 0.1 * curve.train(np.arange(100, 160)).std()
    assert curve.validation(2160) > curve.validation(180) > 5.0
    ranks = np.abs(curve.micro_deviation(np.array([180, 2159]), 8, 1)).mean(axis=(1, 2))
    assert ranks[1] < 0.1 * ranks[0]
    others = [np.abs(curve.validation_deviation(step, 0, 8)).mean() for step in (180, 2160)]
    assert others[1] == pytest.approx(others[0], rel=0.05)


def test_the_gradient_norm_falls_with_what_is_left_to_learn() -> None:
    """Not at all before anything is memorised, and to a tenth where nearly all is."""
    curve = run(124e6, 50_257, 120, 18, 3, sequence_length=256, global_batch=64, lr=6e-4)
    spikes = curve.instability.norm_log_excess(np.arange(2160))
    factor = np.exp(curve.norm_log_excess(np.arange(2160)) - spikes)
    assert (factor[:40] == 1.0).all()
    assert factor[360] == pytest.approx(np.sqrt(1.0 - shape(curve).memorised(np.array([360.0]))[0]))
    assert factor[-1] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("parameters", [1e6, 124e6, 1.5e9])
def test_a_large_data_set_is_never_memorised_by_a_small_model(parameters: float) -> None:
    """33 passes over nine billion tokens teach less than new ones would, and that is all."""
    curve = run(parameters, 50_257, 33, 18_000, 2, sequence_length=1024, global_batch=480, lr=6e-4)
    steps = np.linspace(0.0, 33 * 18_000.0, 200)
    trained, other = curve.shape.at(steps), curve.shape.unseen(steps)
    assert np.max(np.abs(other - trained)) < 0.02
    as_new = replace(shape(curve), repeated=None).at(steps)
    assert 0.0 < other[-1] - as_new[-1] < 0.1


def test_the_model_cannot_hold_more_than_fits_into_it() -> None:
    """However often it reads; 3.6 bits in each parameter are about one token."""
    texts = RepeatedTexts.of(Draws(1, "loss shape"), 1e9, 1e7, 1e15, way=1.0)
    assert texts is not None
    assert texts.memorised(np.array([1e15]))[0] == pytest.approx(0.01, rel=0.05)


def test_repeats_teach_ever_less() -> None:
    """Four passes are worth four, and all together sixteen."""
    texts = RepeatedTexts.of(Draws(1, "loss shape"), 1e6, 1e6, 1e12, way=1.0)
    assert texts is not None
    worth = texts.worth(np.array([0.0, 1e6, 4e6, 4.01e6, 1e7, 4e7, 1e10]))
    assert worth[:3].tolist() == [0.0, 1e6, 4e6]
    assert worth[3] == pytest.approx(4.01e6, rel=1e-5)
    assert 8e6 < worth[4] < 1e7
    assert worth[5:] == pytest.approx([15.7e6, 16.4e6], rel=0.01)


def test_an_epoch_that_is_longer_than_the_data_set_reads_it_again() -> None:
    """WikiText-103 has 0.1 billion tokens; an epoch of 6.6 billion is 64 passes."""
    texts = Texts.of(catalog.dataset("wikitext-103"))
    how = {"sequence_length": 1024, "global_batch": 320, "lr": 3e-4}
    one = shape(run(1.5e9, 50_257, 1, 20_000, 1, texts=texts, **how))
    assert one.repeated is not None
    end = np.array([20_000.0])
    assert one.repeated.tokens == 103_227_021
    assert one.unseen(end) > 1.3 * one.at(end)


def test_a_step_has_the_same_loss_alone_as_among_others() -> None:
    """So that a resumed run goes on as one that was not interrupted."""
    curve = run(10.7e6, 65, 82, 61, 4, **CHARACTERS)
    steps = np.arange(2000, 2050)
    assert np.array_equal(curve.train(steps)[30:], curve.train(steps[30:]))
    assert run.__wrapped__(10.7e6, 65, 82, 61, 4, **CHARACTERS).validation(3000) == curve.validation(3000)


def test_the_loss_that_is_trained_on_only_falls() -> None:
    for key in range(6):
        one = run(10.7e6, 65, 82, 61, key, **CHARACTERS).shape.at(np.arange(0.0, 5000.0, 20.0))
        assert (np.diff(one) <= 1e-9).all()
