"""``--config NAME``: a path if there is one, else a shipped config of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.config.shipped import find_config, shipped_configs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_each_is_found_by_name(name: str) -> None:
    for written in (name, f"{name}.yaml", f"configs/{name}.yaml"):
        assert find_config(written) == shipped_configs()[name]


def test_a_path_wins(elsewhere: Path) -> None:
    (elsewhere / "debug").write_text("model: gpt2")
    assert find_config("debug") == Path("debug")


def test_a_directory_is_no_config(elsewhere: Path) -> None:
    (elsewhere / "debug").mkdir()
    assert find_config("debug") == shipped_configs()["debug"]


def test_an_own_directory_of_configs_is_not_mixed_with_ours(elsewhere: Path) -> None:
    (elsewhere / "configs").mkdir()
    assert find_config("configs/debug.yaml") == Path("configs/debug.yaml")


def test_configs_beside_the_script_come_first(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs" / "mine.yaml").write_text("model: gpt2")
    monkeypatch.setattr("sys.argv", [str(elsewhere / "train.py")])
    assert find_config("mine") == elsewhere / "configs" / "mine.yaml"
    assert "debug" in shipped_configs()


@pytest.mark.parametrize(
    "written, way_out",
    [
        ("lama70b", "Did you mean 'llama70b'?"),
        ("Debug", "Did you mean 'debug'?"),
        ("configs/lama8b.yml", "Did you mean 'llama8b'?"),
        ("zzzzzz", "--list configs shows what there is."),
    ],
)
def test_what_is_not_found_is_guessed(written: str, way_out: str) -> None:
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(find_config(written)).resolve()
    assert str(error.value) == f"{written}: no such file. {way_out}"
