"""``{draw: ...}``: another value each run, the same for the same run."""

from pathlib import Path

import pytest

from accelerate_sim import catalog
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.config.schema import RunConfig

RUNS = range(1, 60)
SMALL = ["parallel.tensor=1", "train.sequence_length=64"]


def configs(*overrides: str) -> list[RunConfig]:
    source = ConfigSource.read(None, [*SMALL, *overrides])
    return [source.resolve(number) for number in RUNS]


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(None, overrides).resolve()
    return str(error.value)


def test_whole_numbers_between_two_ends() -> None:
    steps = [config.train.steps_per_epoch for config in configs("train.steps_per_epoch={draw: [500, 510]}")]
    assert set(steps) == set(range(500, 511))


def test_numbers_between_two_ends() -> None:
    rates = [config.train.lr for config in configs("train.lr={draw: [1e-4, 2e-4]}")]
    assert all(1e-4 <= rate <= 2e-4 for rate in rates)
    assert len(set(rates)) == len(rates)


def test_one_of_a_list() -> None:
    assert {config.train.precision for config in configs("train.precision={draw: [bf16, fp16]}")} == {"bf16", "fp16"}
    assert {config.train.epochs for config in configs("train.epochs={draw: [1, 5, 9]}")} == {1, 5, 9}


def test_any_name_of_the_catalog() -> None:
    assert len({config.model_name for config in configs("model={draw: any}")}) > 20
    assert len({config.data.dataset for config in configs("data.dataset={draw: any}")}) > 10


def test_models_by_their_size() -> None:
    for config in configs("model={draw: [7e9, 4e10]}"):
        assert 7e9 <= catalog.model(config.model_name).architecture.parameters <= 4e10


def test_a_run_draws_the_same_again_and_a_session_goes_on_where_its_seed_says() -> None:
    source = ConfigSource.read(None, [*SMALL, "model={draw: any}", "train.lr={draw: [1e-5, 1e-3]}"])
    later = ConfigSource.read(None, [*SMALL, "model={draw: any}", "train.lr={draw: [1e-5, 1e-3]}", "run.seed=45"])
    assert source.resolve(4) == source.resolve(4)
    assert source.resolve(4).train == later.resolve(1).train


def test_keys_are_drawn_independently() -> None:
    drawn = configs("train.epochs={draw: [1, 2]}", "checkpoint.keep_last={draw: [1, 2]}")
    assert len({(config.train.epochs, config.checkpoint.keep_last) for config in drawn}) == 4


def test_what_does_not_go_together_is_drawn_again() -> None:
    source = ConfigSource.read(None, ["model={draw: any}", "train.sequence_length=1024", "parallel.tensor=8"])
    for number in RUNS:
        assert catalog.model(source.resolve(number).model_name).architecture.heads % 8 == 0


@pytest.mark.parametrize(
    "override, message",
    [
        ("train.lr={draw: [2, 1]}", "train.lr = {draw: [2, 1]} is not a range from low to high. Write {draw: [1, 2]}."),
        ("train.lr={draw: []}", "train.lr = {draw: []} does not say what to draw from."),
        ("train.lr={draw: any}", "train.lr = {draw: 'any'} is not a name of the catalog, so there is no 'any'."),
        ("train.lr={draw: [1, 2], twice: 1}", "has keys beside 'draw'."),
        ("train.lr={draw: [-1, 2]}", "train.lr = -1 (drawn) is not above 0."),
        ("train.epochs={draw: [1, 2.5, 3]}", "train.epochs = 2.5 (drawn) is not a whole number."),
        ("train.lr={draw: [1, .nan]}", "is not a range from low to high"),
        (
            "cluster.gpu={draw: [H100-SXM, H100]}",
            "cluster.gpu = 'H100' (drawn) is an unknown GPU. Did you mean 'H100-SXM'?",
        ),
        ("model={draw: [1, 2]}", "has no model of the catalog in its range of parameters."),
        ("run.seed={draw: [1, 2]}", "run.seed = {draw: [1, 2]} is drawn, and decides what is drawn."),
        ("train.epoch={draw: [1, 2]}", "unknown key 'train.epoch'. Did you mean 'train.epochs'?"),
        ("parallel.tensor={draw: [3, 5, 7]}", "parallel.tensor = "),
    ],
)
def test_bad_draws(override: str, message: str) -> None:
    assert message in refusal(override)


def test_a_bad_draw_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("train:\n  lr: {draw: 5}\n")
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(path).resolve()
    assert str(error.value).startswith(f"{path}:2: train.lr = {{draw: 5}} does not say what to draw from.")
