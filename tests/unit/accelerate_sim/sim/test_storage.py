"""Sizes of files, and how long they take to write."""

from __future__ import annotations

import pytest

from accelerate_sim import catalog
from accelerate_sim.sim import storage
from accelerate_sim.sim.storage import Storage

MODELS = ["gpt2", "llama-3-8b", "llama-3-70b", "mixtral-8x7b", "llama-3.1-405b", "deepseek-v3"]


@pytest.mark.parametrize("name", MODELS)
def test_shards_hold_the_whole_model(name: str) -> None:
    """Whole tensors, in order, none above 5 GB unless one tensor is; names as Hugging Face has them."""
    model = catalog.model(name).architecture
    shards = storage.shards(model)
    assert sum(size for _, size in shards) == storage.export_bytes(model) == 2 * model.parameters
    largest = max(2 * tensor.elements for tensor in model.tensors())
    assert all(0 < size <= max(5 * 10**9, largest) for _, size in shards)
    if len(shards) == 1:
        assert shards[0][0] == "model.safetensors"
        return
    for number, (file, _) in enumerate(shards, 1):
        assert file == f"model-{number:05d}-of-{len(shards):05d}.safetensors"
    # A shard is closed when the next tensor would not fit, so none but the last is far from full.
    assert all(size > 5 * 10**9 - largest for _, size in shards[:-1])


def test_known_checkpoints_have_their_size() -> None:
    """BLOOM 176B: 2.3 TB with, 329 GB without the optimizer, both counted in 1024s. Llama 3 70B: 30 shards."""
    bloom = catalog.model("bloom-176b").architecture
    assert storage.checkpoint_bytes(bloom) / 2**40 == pytest.approx(2.3, abs=0.06)
    assert storage.export_bytes(bloom) / 2**30 == pytest.approx(329, abs=1)
    assert len(storage.shards(catalog.model("llama-3-70b").architecture)) == 30


def test_writing_is_bytes_over_bandwidth_and_never_faster() -> None:
    """Others use the file system, too; small files take a moment anyway."""
    fast = Storage.of(1, nodes=8, file_system_gbytes_per_s=40)
    seconds = [fast.seconds(10**12, "checkpoint", step) for step in range(200)]
    assert min(seconds) > 25
    assert 25 * 1.05 < sum(seconds) / len(seconds) < 25 * 1.3
    assert len(set(seconds)) > 190
    assert 0.5 < fast.seconds(1, "checkpoint", 0) < 5


def test_few_machines_cannot_fill_a_fast_file_system() -> None:
    rates = [Storage.of(1, nodes, 2000).bytes_per_s for nodes in (1, 10, 1000)]
    assert rates == [pytest.approx(12e9), pytest.approx(120e9), pytest.approx(2000e9)]
