"""Texts of datasets: how long and how hard they are, and what that does to a loss."""

from __future__ import annotations

import numpy as np
import pytest

from accelerate_sim import catalog
from accelerate_sim.config.schema import RunConfig, TrainConfig
from accelerate_sim.sim.curves.loss import LossCurve
from accelerate_sim.sim.curves.texts import LONGEST_TOKENS, Texts


def ends(dataset: str) -> float:
    """The median end of runs of a small model on data of this kind."""
    config = RunConfig(train=TrainConfig(epochs=1, steps_per_epoch=19_000, global_batch=512, sequence_length=1024))
    texts = Texts.of(catalog.dataset(dataset))
    of_names = [LossCurve.of(config, 1, key, 50_257, 124e6, 19_000, texts=texts) for key in range(30)]
    return float(np.median([one.trend(18_999.0) for one in of_names]))


def test_a_page_of_the_web_is_harder_than_a_chosen_one_and_a_blend_easier() -> None:
    web, chosen, blend = ends("fineweb"), ends("fineweb-edu"), ends("the-pile")
    assert blend < chosen < web
    assert web - chosen == pytest.approx(0.12, abs=0.06)


def test_a_model_that_has_learned_nothing_finds_all_texts_equally_hard() -> None:
    config = RunConfig(train=TrainConfig(epochs=1, steps_per_epoch=3000))
    first = [
        LossCurve.of(config, 1, 5, 128_256, 70e9, 3000, texts=Texts(difficulty=(nats, nats))).trend(0.0).item()
        for nats in (0.0, 0.2)
    ]
    assert first[0] == pytest.approx(first[1], abs=1e-9)


def test_texts_have_the_mean_length_of_their_dataset() -> None:
    assert Texts.of(catalog.dataset("c4")).mean_tokens == pytest.approx(428, abs=1)
    assert Texts.of(catalog.dataset("bookcorpus")).mean_tokens == LONGEST_TOKENS


def test_long_texts_make_a_batch_noisier() -> None:
    config = RunConfig(train=TrainConfig(epochs=1, steps_per_epoch=3000))
    short, long = (
        LossCurve.of(config, 1, 5, 128_256, 70e9, 3000, texts=Texts(mean_tokens=tokens)).sigmas[0]
        for tokens in (400, 3600)
    )
    assert long == pytest.approx(3 * short)


def test_stories_of_few_words_are_known_soon() -> None:
    """124M on TinyStories, 32,768 tokens a step: 4.45 nats after 50 steps, 3.19 after 200, 2.1 after 500."""
    train = TrainConfig(
        epochs=1, steps_per_epoch=2000, global_batch=32, sequence_length=1024, lr=6e-4, warmup_steps=100
    )
    texts = Texts.of(catalog.dataset("tinystories"))
    of_names = [LossCurve.of(RunConfig(train=train), 1, key, 50_257, 124e6, 2000, texts=texts) for key in range(20)]
    losses = np.median([one.trend(np.array([50.0, 200.0, 500.0, 1999.0])) for one in of_names], axis=0)
    assert losses == pytest.approx([4.45, 3.19, 2.1, 1.4], abs=0.35)
