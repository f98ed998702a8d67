"""Whatever is in the file, it becomes a config or a ConfigError, and the terminal is safe."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelerate_sim.config.keys import all_keys
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.config.schema import RunConfig

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
FUZZ = settings(max_examples=75, deadline=20_000, suppress_health_check=CHECKS)
NAMES = ["gpt2", "llama-3-70b", "H100-SXM", "GB200", "fineweb-edu", "any", "max", "epoch", "fsdp", "fp8", "full", "nan"]
scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-2, 200) | st.floats() | st.text(max_size=8)
    | st.sampled_from(NAMES)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.just("draw"), inner, max_size=3)
        | st.fixed_dictionaries({"draw": inner})
    ),
    max_leaves=8,
)


def outcome(source: ConfigSource) -> None:
    try:
        config = source.resolve(3)
    except ConfigError as error:
        assert error.problems
        assert all(line.isprintable() for line in str(error).splitlines())
        assert all(len(line) < 1000 for line in str(error).splitlines())
    else:
        assert isinstance(config, RunConfig)


@FUZZ
@given(data=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(data)
    outcome(ConfigSource.read(path))


@FUZZ
@given(text=st.text(alphabet="model:train{}[]&*!|>-?#'\"%@`,\n \t01.eE\\x\x1b\u2028", max_size=80))
def test_any_punctuation(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    outcome(ConfigSource.read(path))


@settings(FUZZ, max_examples=150)
@given(changes=st.dictionaries(st.sampled_from(all_keys()), values, min_size=1, max_size=4))
def test_any_values_of_known_keys(changes: dict[str, Any]) -> None:
    outcome(ConfigSource.read(None, base=nested(changes)))


@FUZZ
@given(raw=st.dictionaries(st.sampled_from(list(RunConfig.model_fields)) | st.text(max_size=6), values, max_size=5))
def test_any_mapping(tmp_path: Path, raw: dict[str, Any]) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw, allow_unicode=True))
    outcome(ConfigSource.read(path))


@FUZZ
@given(
    overrides=st.lists(
        st.text(max_size=20) | st.builds("{}={}".format, st.sampled_from(all_keys()), st.text(max_size=9))
    )
)
def test_any_overrides(overrides: list[str]) -> None:
    outcome(ConfigSource.read(None, overrides))


@settings(FUZZ, max_examples=150)
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "cluster.nodes": st.integers(1, 4096),
            "cluster.gpus_per_node": st.sampled_from([1, 2, 4, 6, 8, 72]),
            "parallel.tensor": st.integers(1, 16),
            "parallel.pipeline": st.integers(1, 200),
            "parallel.context": st.integers(1, 8),
            "parallel.expert": st.integers(1, 64),
            "parallel.virtual_stages": st.integers(1, 64),
            "train.global_batch": st.integers(1, 5000),
            "train.micro_batch": st.integers(1, 64),
            "train.sequence_length": st.integers(1, 10**6),
            "model": st.sampled_from(["gpt2", "mixtral-8x7b", "deepseek-v3", "falcon-7b", "smollm2-360m"]),
            "cluster.gpu": st.sampled_from(["H100-SXM", "GB200", "L40S"]),
        },
    )
)
def test_any_layout(changes: dict[str, Any]) -> None:
    outcome(ConfigSource.read(None, base=nested(changes)))


@pytest.mark.parametrize(
    "value", [None, True, -1, 0, 2**70, float("nan"), float("inf"), "\x1b[0m", [], {}, {"draw": 0}]
)
def test_every_key_with_values_that_few_of_them_take(value: Any) -> None:
    for key in all_keys():
        try:
            outcome(ConfigSource.read(None, base=nested({key: value})))
        except Exception as error:
            raise AssertionError(f"{key} = {value!r}") from error


def nested(changes: dict[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name:
            raw.setdefault(section, {})[name] = value
        else:
            raw[section] = value
    return raw
