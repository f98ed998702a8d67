"""The configs that come with the project: they load, fit, and are what they say."""

import time
from pathlib import Path

import pytest

from accelerate_sim import catalog
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.memory.fit import misfit
from accelerate_sim.sim.run import Run
from tests.support.repository import CONFIGS

FILES = sorted(CONFIGS.glob("*.yaml"))


def config(name: str) -> RunConfig:
    return ConfigSource.read(CONFIGS / f"{name}.yaml").resolve()


def test_all_are_there() -> None:
    names = {path.stem for path in FILES}
    assert names == {"llama70b", "llama8b", "llama405b", "mixtral8x7b", "gpt3-175b", "debug", "classic", "chaos"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads_fits_and_moves_at_a_lively_pace(path: Path) -> None:
    run = Run(ConfigSource.read(path).resolve())
    assert misfit(run) is None
    most = 60 if path.stem == "chaos" else 21  # it is watched for its faults, of which a day has a handful
    assert 9 <= run.config.run.speed / run.mean_step_s <= most, "steps a second"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_first_line_says_what_it_is(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and first.endswith(".") and len(first) <= 120


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads_quickly(path: Path) -> None:
    ConfigSource.read(path).resolve()  # reads the catalog
    begin = time.process_time()
    ConfigSource.read(path).resolve()
    assert time.process_time() - begin < 0.06


def test_llama70b_is_the_example() -> None:
    run = Run(config("llama70b"))
    assert (run.layout.world_size, run.layout.tensor, run.layout.data) == (64, 8, 8)
    assert (run.config.train.epochs, run.config.train.steps_per_epoch, run.config.train.global_batch) == (3, 1000, 128)


def test_llama405b_is_the_published_layout() -> None:
    layout = Run(config("llama405b")).layout
    assert layout.world_size == 16_384
    assert (layout.tensor, layout.pipeline, layout.data) == (8, 16, 128)
    assert layout.tokens_per_step == 16_777_216


def test_debug_is_four_gpus_and_twenty_steps() -> None:
    run = Run(config("debug"))
    assert (run.layout.nodes, run.layout.gpus_per_node, run.total_steps) == (2, 2, 20)


def test_classic_keeps_its_numbers_run_after_run() -> None:
    source = ConfigSource.read(CONFIGS / "classic.yaml")
    models = set()
    for number in range(1, 40):
        drawn = source.resolve(number)
        run = Run(drawn, number)
        models.add(run.model.name)
        assert 6.5e9 < run.model.architecture.parameters < 406e9
        assert (run.layout.nodes, run.layout.world_size, run.layout.accumulation) == (8, 64, 8)
        assert (drawn.train.epochs, drawn.train.global_batch, drawn.train.micro_batch) == (3, 2048, 4)
        assert 500 <= drawn.train.steps_per_epoch <= 2000
        assert drawn.train.lr == 1e-4
        assert drawn.cluster.nccl_version == "2.19.3"
        assert drawn.impose.first_loss == (8, 12)
        assert drawn.impose.step_time_s is not None
        for seconds in drawn.impose.step_time_s:
            assert 0.030 <= seconds <= 0.080
            assert 0.8e6 <= run.layout.tokens_per_step / seconds <= 1.2e6
    assert len(models) > 15
    assert any(catalog.model(name).architecture.parameters > 4e11 for name in source_models(source))


def source_models(source: ConfigSource) -> set[str]:
    return {source.resolve(number).model_name for number in range(1, 300)}
