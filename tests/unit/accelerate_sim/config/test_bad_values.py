"""Values that a key cannot have: the message says where, what, why, and what to write instead."""

from pathlib import Path

import pytest

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError


def messages(tmp_path: Path, text: str) -> list[str]:
    """The message for a file of this text, without the directory."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(path).resolve()
    return str(error.value).replace(f"{tmp_path}/", "").splitlines()


@pytest.mark.parametrize(
    "text, message",
    [
        ("train: {lr: -1}", "train.lr = -1 is not above 0. Use a number above 0, e.g. 1.5e-4."),
        ("train: {lr: 0}", "train.lr = 0 is not above 0. Use a number above 0, e.g. 1.5e-4."),
        ("train: {lr: .nan}", "train.lr = nan is not finite. Use a number above 0, e.g. 1.5e-4."),
        ("train: {lr: .inf}", "train.lr = inf is not finite. Use a number above 0, e.g. 1.5e-4."),
        ("train: {min_lr: .nan}", "train.min_lr = nan is not finite. Use a number of at least 0."),
        ("train: {lr: fast}", "train.lr = 'fast' is text, not a number. Use a number above 0, e.g. 1.5e-4."),
        ("train: {lr: [1]}", "train.lr = [1] is a list, not a number. Use a number above 0, e.g. 1.5e-4."),
        ("train: {lr: }", "train.lr = null is nothing, not a number. Use a number above 0, e.g. 1.5e-4."),
        ("cluster: {nodes: 0}", "cluster.nodes = 0 is below 1. Use a whole number from 1 to 100,000, e.g. 8."),
        ("cluster: {nodes: 1.5}", "cluster.nodes = 1.5 is not a whole number. "
         "Use a whole number from 1 to 100,000, e.g. 8."),
        ("cluster: {nodes: .inf}", "cluster.nodes = inf is not finite. Use a whole number from 1 to 100,000, e.g. 8."),
        ("cluster: {nodes: true}", "cluster.nodes = true is a switch (true/false), not a number. "
         "Use a whole number from 1 to 100,000, e.g. 8."),
        ("train: {precision: bf61}",
         "train.precision = 'bf61' is not known. Use one of bf16, fp16, fp8, mxfp8, nvfp4."),
        ("cluster: {driver: 535}", "cluster.driver = 535 is not known. Use one of 550, 570, 580, 590, 610, null."),
        ("train: {peak_lr: 1}", "unknown key 'train.peak_lr'. Did you mean 'train.lr'?"),
        ("train: {tensor: 1}", "unknown key 'train.tensor'. Did you mean 'parallel.tensor'?"),
        ("train: {batch_size: 1}", "unknown key 'train.batch_size'. Did you mean 'train.global_batch'?"),
        ("trian: {}", "unknown key 'trian'. Did you mean 'train'?"),
        ("zzz: 1", "unknown key 'zzz'. --print-config shows all keys."),
        ("train: 5", "train = 5 is a whole number, not a mapping. Write its keys indented below 'train:'."),
        ("model: llama-3-70", "model = 'llama-3-70' is an unknown model. Did you mean 'llama-3-70b'? "
         "--list models shows all."),
        ("cluster: {gpu: H100}", "cluster.gpu = 'H100' is an unknown GPU. Did you mean 'H100-SXM'? "
         "--list gpus shows all."),
        ("data: {dataset: fineweb-edo}", "data.dataset = 'fineweb-edo' is an unknown dataset. "
         "Did you mean 'fineweb-edu'? --list datasets shows all."),
        ("run: {speed: 0}", "run.speed = 0 is not a number above 0. For no waiting at all use 'max'."),
        ("run: {speed: fast}", "run.speed = 'fast' is neither a number nor 'max'. Use e.g. 250."),
        ("eval: {every: 1.5}", "eval.every = 1.5 is not a whole number of steps. Use 'epoch' for none in between."),
        ("impose: {step_time_s: 5}", "impose.step_time_s = 5 is not two numbers above 0. "
         "Use two numbers above 0, as [low, high]."),
        ("impose: {step_time_s: [2, 1]}", "impose.step_time_s = [2, 1] has its low end above its high end. "
         "Write [1, 2]."),
        ('cluster: {host: "a\\e[31m"}', "cluster.host = 'a\\x1b[31m' contains control characters. Use plain text."),
        ('data: {tokenizer: "a\\u202Eb"}', "data.tokenizer = 'a\\u202eb' contains control characters. Use plain text."),
        ('"a\\e[0m": 1', "unknown key 'a\\x1b[0m'. --print-config shows all keys."),
        ("model: {layers: 2, hidden: 64, heads: 4, ffn: 64, vocab: 100}",
         "model.context is missing. Add it: a whole number from 1 to 134,217,728."),
        ("model: {layers: 2, hidden: 1000, heads: 7, ffn: 64, vocab: 100, context: 9}",
         "model: heads = 7 does not divide hidden = 1000. Change one of them or give head_dim."),
    ],
)  # fmt: skip
def test_one_bad_value(tmp_path: Path, text: str, message: str) -> None:
    assert messages(tmp_path, text) == [f"bad.yaml:1: {message}"]


def test_all_problems_come_in_one_go_each_with_its_line(tmp_path: Path) -> None:
    text = """\
model: lama-3-70b
cluster:
  nodes: 0
  gpu: H10
train:
  lr: -1
  min_lr: 1
  global_batch: 129
impose: {temperature_c: [80, 70]}
"""
    places = [message.split(" ")[0] + " " + message.split(" ")[1] for message in messages(tmp_path, text)]
    assert places == [
        "bad.yaml:1: model",
        "bad.yaml:3: cluster.nodes",
        "bad.yaml:4: cluster.gpu",
        "bad.yaml:6: train.lr",
        "bad.yaml:9: impose.temperature_c",
    ]


def test_a_bad_key_does_not_accuse_those_that_depend_on_it(tmp_path: Path) -> None:
    # With a learning rate of -1, no min_lr is above it by mistake of its own.
    assert len(messages(tmp_path, "train: {lr: -1, min_lr: 1}")) == 1


def test_long_values_are_cut(tmp_path: Path) -> None:
    (message,) = messages(tmp_path, f"train: {{lr: {'x' * 5000}}}")
    assert len(message) < 200


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "1.0e-4", "0.0001", "'1e-4'", ".0001", "1_0e-5"])
def test_numbers_in_any_notation(tmp_path: Path, written: str) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(f"train: {{lr: {written}}}")
    assert ConfigSource.read(path).resolve().train.lr == 1e-4


@pytest.mark.parametrize("written, steps", [("1_000", 1000), ("1e3", 1000), ("010", 10), ("'500'", 500)])
def test_whole_numbers_in_any_notation(tmp_path: Path, written: str, steps: int) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(f"train: {{steps_per_epoch: {written}}}")
    assert ConfigSource.read(path).resolve().train.steps_per_epoch == steps


def test_an_empty_section_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("log:\ntrain: {epochs: 2}\n")
    assert ConfigSource.read(path).resolve().log == ConfigSource.read(None).resolve().log


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("\ufeffeval: {batches: 7}")
    assert ConfigSource.read(path).resolve().eval.batches == 7


@pytest.mark.parametrize(
    "text, message",
    [
        ("model: gtp2\ncluster: {nodes: 1, gpus_per_node: 1}",
         "1: model = 'gtp2' is an unknown model. Did you mean 'gpt2'? --list models shows all."),
        ("modle: gpt2\ncluster: {nodes: 1, gpus_per_node: 1}\nparallel: {tensor: 1}",
         "1: unknown key 'modle'. Did you mean 'model'?"),
        ("model: gpt2\ncluster:\n  nodes:2",
         "2: cluster = 'nodes:2' is text, not a mapping. A space goes after the colon: 'nodes: 2'."),
        ("model: gpt2\ntrain: {global_batch: 12, lr:2}\nparallel: {tensor: 4}\ncluster: {node: 6}",
         "2: unknown key 'train.lr:2'. A space goes after the colon: 'lr: 2'."),
        ("machine_count: 1\nparallel: {tensor: 16}",
         "1: unknown key 'machine_count'. --print-config shows all keys."),
        ("cluster: {gpus: 1}\nmodel: gpt2\nparallel: {tensor: 1}",
         "1: unknown key 'cluster.gpus'. Did you mean 'cluster.gpus_per_node'?"),
        ("nodes: 3", "1: unknown key 'nodes'. Did you mean 'cluster.nodes'?"),
        ("steps: 3", "1: unknown key 'steps'. Did you mean 'train.steps_per_epoch'?"),
    ],
)  # fmt: skip
def test_a_mistake_adds_none_that_only_follows_from_a_default(tmp_path: Path, text: str, message: str) -> None:
    first, *others = messages(tmp_path, text)
    assert first == f"bad.yaml:{message}"
    assert all("unknown key" in other for other in others)


def test_a_conflict_that_was_written_is_told_beside_another_mistake(tmp_path: Path) -> None:
    told = messages(tmp_path, "model: gpt2\ncluster: {gpu: H10}\ntrain: {lr: 1, min_lr: 2}")
    assert [line.split(" ")[1] for line in told] == ["cluster.gpu", "train.min_lr"]
