"""The libraries that read such files for a living read ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim import catalog
from accelerate_sim.artifacts import atomic
from accelerate_sim.artifacts.model_files import model_images
from accelerate_sim.artifacts.torch_archive import torch_image
from accelerate_sim.artifacts.training_files import trainer_state_image
from accelerate_sim.catalog import Architecture, MixtureOfExperts, ModelSpec

pytestmark = pytest.mark.real

REMOTE_CODE = ("deepseek-moe-16b",)
"""Their class is not in transformers."""
DENSE = [name for name in catalog.model_names() if not catalog.model(name).architecture.moe and name not in REMOTE_CODE]
RENAMED = {"embed_out.weight": "lm_head.weight"}
"""Tensor names that transformers 5 changes when it loads a file."""


def saved(spec: ModelSpec, directory: Path) -> Path:
    shards, others = model_images(spec, "sparse")
    atomic.write_directory(directory / "final", [*shards, *others])
    return directory / "final"


def on_meta(directory: Path) -> Any:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.AutoConfig.from_pretrained(directory)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", DENSE)
def test_model_has_the_printed_parameters_under_the_same_names(name: str, tmp_path: Path) -> None:
    spec = catalog.model(name)
    model = on_meta(saved(spec, tmp_path))
    assert sum(parameter.numel() for parameter in model.parameters()) == spec.architecture.parameters
    ours = {RENAMED.get(tensor.name, tensor.name): tensor.shape for tensor in spec.architecture.tensors()}
    theirs = {tensor: tuple(value.shape) for tensor, value in model.named_parameters()}
    assert ours == theirs


@pytest.mark.parametrize("name", ["mixtral-8x7b", "qwen3-30b-a3b", "olmoe-1b-7b", "deepseek-v2-lite"])
def test_experts_have_the_printed_parameters(name: str, tmp_path: Path) -> None:
    """In memory transformers 5 stacks experts; see the next test for their names."""
    spec = catalog.model(name)
    model = on_meta(saved(spec, tmp_path))
    assert sum(parameter.numel() for parameter in model.parameters()) == spec.architecture.parameters


@pytest.mark.parametrize("family", ["llama", "mixtral", "qwen3_moe", "olmoe", "gpt2", "gpt_neox"])
def test_small_model_is_loaded_without_a_missing_or_unexpected_tensor(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    experts = (
        MixtureOfExperts(experts=4, active_experts=2, ffn=16) if family in ("mixtral", "qwen3_moe", "olmoe") else None
    )
    shape = Architecture(family=family, layers=2, hidden=32, heads=4, ffn=128, moe=experts, vocab=300, context=64)
    spec = ModelSpec(
        name="small", title="small", hub_id=None, architecture=shape, tokenizer="t", published_parameters=1, source="x"
    )
    _, report = transformers.AutoModelForCausalLM.from_pretrained(saved(spec, tmp_path), output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]


def test_safetensors_and_the_index_agree(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    spec = catalog.model("llama-3-70b")
    final = saved(spec, tmp_path)
    index = json.loads((final / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) == 30
    total = 0
    for name in files:
        with safetensors.safe_open(final / name, "np") as file:
            assert file.metadata()["simulated"] == "true"
            assert set(file.keys()) == {tensor for tensor, place in index["weight_map"].items() if place == name}
            shapes = {tensor: file.get_slice(tensor).get_shape() for tensor in file.keys()}  # noqa: SIM118 - it cannot be iterated over
        with (final / name).open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        total += (final / name).stat().st_size - 8 - header
        assert all(
            tuple(shapes[tensor.name]) == tensor.shape
            for tensor in spec.architecture.tensors()
            if tensor.name in shapes
        )
    assert total == index["metadata"]["total_size"] == 2 * spec.architecture.parameters
    assert sum(file.stat().st_blocks for file in final.iterdir()) * 512 < 6e6


@pytest.mark.parametrize("name", ["gpt2", "llama-3-8b"])
def test_tokenizer_gives_any_text_back(name: str, tmp_path: Path) -> None:
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    spec = catalog.model(name)
    final = saved(spec, tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(final / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == spec.tokenizer_vocab
    text = "the training, Ünïcode and 😀\n\ttabs"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    wrapped = transformers.AutoTokenizer.from_pretrained(final)
    assert (len(wrapped), wrapped.eos_token) == (spec.tokenizer_vocab, "<|endoftext|>")


def test_torch_and_the_trainer_read_the_state(tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    (tmp_path / "scheduler.bin").write_bytes(torch_image("scheduler.bin", {"last_epoch": 3, "_last_lr": [1e-4]}).head)
    loaded = torch.load(tmp_path / "scheduler.bin", weights_only=True)
    assert loaded == {"simulated": True, "last_epoch": 3, "_last_lr": [1e-4]}
    (tmp_path / "trainer_state.json").write_bytes(trainer_state_image({"global_step": 7}).head)
    assert transformers.TrainerState.load_from_json(str(tmp_path / "trainer_state.json")).global_step == 7
