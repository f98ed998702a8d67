"""``--set section.key=value`` over a file over a base."""

from pathlib import Path

import pytest

from accelerate_sim.config.load import ConfigSource, Override
from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig


def refusal(*overrides: str, path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(path, overrides).resolve()
    return str(error.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text("train: {lr: 2e-4, epochs: 5}\nrun: {seed: 7}\n")
    return file


def test_the_later_wins(path: Path) -> None:
    source = ConfigSource.read(
        path, ["train.lr=1e-3", "train.lr=3e-4"], base={"train": {"epochs": 9, "max_grad_norm": 2}}
    )
    train = source.resolve().train
    assert (train.lr, train.epochs, train.max_grad_norm) == (3e-4, 5, 2.0)


def test_values_are_yaml() -> None:
    config = ConfigSource.read(
        None, ["impose.step_time_s=[0.1, 0.2]", "run.speed=max", "data.tokenizer=", "eval.every=50", "model=llama-3-8b"]
    ).resolve()
    assert config.impose.step_time_s == (0.1, 0.2)
    assert config.run.speed == float("inf")
    assert config.eval.every == 50
    assert config.data.tokenizer is None


def test_a_custom_model_key_by_key() -> None:
    keys = {"layers": 2, "hidden": 64, "heads": 8, "ffn": 128, "vocab": 100, "context": 8192}
    config = ConfigSource.read(None, [f"model.{key}={value}" for key, value in keys.items()]).resolve()
    assert config.model_name == "custom"


@pytest.mark.parametrize(
    "override, message",
    [
        ("train.lr", "'train.lr' is not KEY=VALUE. Write e.g. --set train.lr=1e-4."),
        ("=5", "'=5' is not KEY=VALUE. Write e.g. --set train.lr=1e-4."),
        ("train..lr=5", "'train..lr=5' is not KEY=VALUE. Write e.g. --set train.lr=1e-4."),
        ("train.lr=\x1b", "train.lr: control character '\\x1b'. Remove it."),
        ("tr\x1bain=1", "unknown key 'tr\\x1bain'. Did you mean 'train'?"),
        ("train.lr.x=1", "train.lr.x: train.lr is a number, 2e-4, and has no keys. Set train.lr itself."),
        ("train.lr=-1", "train.lr = -1 is not above 0. Use a number above 0, e.g. 1.5e-4."),
    ],
)  # fmt: skip
def test_bad_overrides(path: Path, override: str, message: str) -> None:
    assert refusal(override, path=path) == f"--set: {message}"


def test_an_override_that_is_no_yaml(path: Path) -> None:
    said = refusal("train.lr=[1", path=path)
    assert said.startswith("--set: train.lr: YAML syntax: ")
    assert said.endswith(" (at the end). Check the colons, quotes, brackets and the indentation around there.")


def test_the_file_and_the_overrides_are_judged_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("train: {lr: -1}")
    lines = refusal("cluster.nodes=0", "oops", path=path).splitlines()
    assert [line.partition(": ")[2].split(" ")[0] for line in lines] == ["train.lr", "'oops'", "cluster.nodes"]


def test_an_unreadable_file_does_not_hide_bad_overrides(tmp_path: Path) -> None:
    message = refusal("train.lr=-1", path=tmp_path / "none.yaml")
    assert "no such file" in message and "train.lr = -1" in message


def test_a_check_of_the_whole_is_located(path: Path) -> None:
    def check(config: RunConfig) -> Problem:
        return Problem.about("model", "'x'", "is odd", "Use another.", ("run.seed",))

    with pytest.raises(ConfigError) as error:
        ConfigSource.read(path).resolve(check=check)
    assert str(error.value) == f"{path}:2: model = 'x' (the default) is odd. Use another."


def test_a_check_is_not_asked_about_keys_that_are_bad_anyway() -> None:
    def check(config: RunConfig) -> Problem:
        return Problem.about("model", "'x'", "is odd", "Use another.", ("train.lr",))

    with pytest.raises(ConfigError) as error:
        ConfigSource.read(None, ["train.lr=-1"]).resolve(check=check)
    assert len(error.value.problems) == 1


def test_an_override_with_a_colon_has_no_consequences() -> None:
    assert refusal("model=gpt2", "cluster.nodes:3") == (
        "--set: 'cluster.nodes:3' is not KEY=VALUE. Write --set cluster.nodes=3."
    )


def test_an_option_that_stands_for_a_key_is_named_instead() -> None:
    overrides = Override("run.seed=-5", "--seed"), Override("log.trackers=[a]", "--log-with")
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(None, overrides).resolve()
    assert sorted(str(error.value).splitlines(), reverse=True) == [
        "--seed: -5 is below 0. Use a whole number of at least 0, e.g. 42.",
        "--log-with: ['a'] holds 'a', which is no tracker. Use some of jsonl, tensorboard, wandb, prometheus.",
    ]
