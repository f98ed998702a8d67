"""A run without a config: always one that fits, that a practitioner would believe, and that repeats."""

import time
from functools import cache

import pytest

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.session.random_run import draw_run
from accelerate_sim.sim.memory.fit import misfit
from accelerate_sim.sim.run import Run

SEEDS = range(150)


@cache
def runs() -> list[Run]:
    """The first run of many seeds; resolving raises if a config is bad."""
    return [Run(ConfigSource.read(None, base=draw_run(seed, 1)).resolve()) for seed in SEEDS]


def test_every_run_fits_its_gpus() -> None:
    assert all(misfit(run) is None for run in runs())


def test_there_is_variety() -> None:
    assert len({run.model.name for run in runs()}) > 50
    assert len({run.gpu.name for run in runs()}) > 10
    assert len({run.dataset.name for run in runs()}) > 15
    assert len({run.layout.describe() for run in runs()}) > 15


def test_clusters_suit_the_models() -> None:
    for run in runs():
        parameters, gpus = run.model.architecture.parameters, run.layout.world_size
        assert run.layout.nodes.bit_count() == 1, "machines come in powers of two"
        assert 8 <= gpus <= 32_768
        if parameters < 5e9:
            assert gpus <= 128
        if parameters > 1.5e11:
            assert gpus >= 128


def test_batches_and_rates_suit_the_models() -> None:
    for run in runs():
        assert 2.5e5 <= run.layout.tokens_per_step <= 3.3e7
        assert 5e-5 <= run.config.train.lr <= 1e-3
        assert 1 <= run.config.train.epochs <= 3
        assert 400 <= run.config.train.steps_per_epoch <= 2000


def test_an_expert_would_believe_the_speed() -> None:
    for run in runs():
        mfu = run.mfu(run.layout.tokens_per_step / run.mean_step_s)
        assert 0.02 < mfu < 0.9, run.model.name


def test_a_step_takes_a_blink() -> None:
    for run in runs():
        assert 0.04 <= run.mean_step_s / run.config.run.speed <= 0.12


def test_the_same_run_is_drawn_again_and_others_differ() -> None:
    assert draw_run(5, 2) == draw_run(5, 2)
    assert len({str(draw_run(5, number)) for number in range(1, 10)}) == 9


def test_it_is_quick() -> None:
    draw_run(0, 1)  # reads the catalog
    begin = time.process_time()
    for number in range(20):
        draw_run(1, number)
    assert (time.process_time() - begin) / 20 < 0.05


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=gpt2"],
        ["model=deepseek-v3"],
        ["cluster.gpu=L40S", "cluster.nodes=2"],
        ["parallel.tensor=4"],
        ["train.micro_batch=3"],
        ["train.lr=1e-5", "train.global_batch=512"],
        ["model={layers: 4, hidden: 128, heads: 4, ffn: 256, vocab: 1000, context: 512}"],
        ["log="],
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_what_is_given_is_gone_along_with(overrides: list[str], seed: int) -> None:
    base = draw_run(seed, 1, ConfigSource.read(None, overrides).data)
    run = Run(ConfigSource.read(None, overrides, base=base).resolve())
    assert misfit(run) is None


@pytest.mark.parametrize("override", ["model=nope", "cluster.gpu=5", "train=5", "train.lr=-1", "nonsense=1"])
def test_what_is_wrong_is_said_once(override: str) -> None:
    base = draw_run(1, 1, ConfigSource.read(None, [override]).data)
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(None, [override], base=base).resolve()
    assert len(error.value.problems) == 1
    assert error.value.problems[0].source == "--set"
