"""--print-config: complete, explained, and a config itself."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.config.document import documented_yaml
from accelerate_sim.config.keys import all_keys, value_at
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.yaml_reader import read_yaml

CUSTOM = "model={name: 'my: model', layers: 4, hidden: 64, heads: 8, ffn: 128, vocab: 1000, context: 99999"
MOE = ", family: mixtral, moe: {experts: 8, active_experts: 2, ffn: 64}"
MLA = (
    ", family: deepseek_v3, moe: {experts: 8, active_experts: 2, shared_experts: 1, ffn: 64, dense_layers: 1}"
    ", mla: {kv_rank: 16, rope_head_dim: 8, nope_head_dim: 8, v_head_dim: 8}"
)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["train.lr=1e-5", "train.min_lr=1.2345678901234e-7", "run.speed=max", "eval.every=50", "run.runs=0"],
        ["data.tokenizer='null'", "cluster.host='12'", "cluster.nccl_version='1e5'"],
        ["data.tokenizer='a \"b\" #c: d'", "cluster.host='ü-€'"],
        ["impose.step_time_s=[0.041, 0.0614]", "impose.first_loss=[8, 12]"],
        [CUSTOM + "}"],
        [CUSTOM + MOE + "}"],
        [CUSTOM + MLA + "}"],
    ],
)
def test_it_loads_back_to_the_same_config(tmp_path: Path, overrides: list[str]) -> None:
    config = ConfigSource.read(None, overrides).resolve()
    path = tmp_path / "printed.yaml"
    path.write_text(documented_yaml(config))
    assert ConfigSource.read(path).resolve() == config


def test_every_key_is_there_with_a_comment_above_it() -> None:
    ramp = {"start": 8, "increment": 8, "samples": 1000}
    lines = documented_yaml(RunConfig.model_validate({"train": {"batch_ramp": ramp}})).splitlines()
    printed = read_yaml("\n".join(lines), "printed").lines
    for key in all_keys():
        line = printed[tuple(key.split("."))]
        assert lines[line - 2].lstrip().startswith("# "), key


def test_keys_that_take_lists_say_so() -> None:
    text = " ".join(line.strip("# ") for line in documented_yaml(RunConfig()).splitlines())
    for end in ("as in Accelerate's log_with.", "--list hazards shows all.", "--list faults shows the kinds."):
        assert f"{end} A list. Default: []." in text, end
    assert "time of a step, in seconds. Two numbers above 0, as [low, high]." in text


def test_other_programs_read_the_same_values() -> None:
    config = ConfigSource.read(None, ["train.lr=1e-5"]).resolve()
    loaded = yaml.safe_load(documented_yaml(config))
    assert value_at(loaded, ("train", "lr")) == 1e-5
    assert value_at(loaded, ("cluster", "nccl_version")) == config.cluster.nccl_version


@given(st.floats(min_value=1e-300, max_value=1e18, allow_nan=False))
def test_numbers_keep_all_their_bits(number: float) -> None:
    text = documented_yaml(RunConfig.model_validate({"train": {"lr": number, "min_lr": 0}}))
    assert value_at(read_yaml(text, "printed").value, ("train", "lr")) == number
