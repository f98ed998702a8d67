"""Files before they are on the disk: what a reader of the format finds in them."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest

from accelerate_sim import catalog
from accelerate_sim.artifacts.file_image import FileImage
from accelerate_sim.artifacts.model_files import model_images
from accelerate_sim.artifacts.tokenizer import byte_alphabet, tokenizer_images
from accelerate_sim.artifacts.training_files import optimizer_images, rank_groups
from accelerate_sim.sim import storage

MODELS = ("gpt2", "llama-3-8b", "mixtral-8x7b", "llama-3.1-405b")


def header(image: FileImage) -> dict[str, Any]:
    """The header of a safetensors file, checked against the file's size."""
    (length,) = struct.unpack("<Q", image.head[:8])
    assert len(image.head) == 8 + length
    assert len(image.head) % 8 == 0
    found: dict[str, Any] = json.loads(image.head[8:])
    assert found.pop("__metadata__")["simulated"] == "true"
    end = 0
    for entry in found.values():
        begin, end_of_entry = entry["data_offsets"]
        width = {"BF16": 2, "F32": 4}[entry["dtype"]]
        assert (begin, end_of_entry - begin) == (end, width * math.prod(entry["shape"]))
        end = end_of_entry
    assert image.hole_bytes == end
    return found


@pytest.mark.parametrize("name", MODELS)
def test_shards_hold_every_tensor_once_in_its_shape(name: str) -> None:
    spec = catalog.model(name)
    shards, others = model_images(spec, "sparse")
    held = {tensor: tuple(entry["shape"]) for shard in shards for tensor, entry in header(shard).items()}
    assert held == {tensor.name: tensor.shape for tensor in spec.architecture.tensors()}
    assert [(shard.name, shard.hole_bytes) for shard in shards] == storage.shards(spec.architecture)
    index = [json.loads(image.head) for image in others if image.name.endswith("index.json")]
    assert len(index) == (len(shards) > 1)
    if index:
        assert index[0]["metadata"]["total_size"] == storage.export_bytes(spec.architecture)
        assert index[0]["weight_map"] == {tensor: shard.name for shard in shards for tensor in header(shard)}


def test_tiny_tensors_have_the_same_names_and_next_to_no_size() -> None:
    spec = catalog.model("llama-3-8b")
    tiny, _ = model_images(spec, "tiny")
    true, _ = model_images(spec, "sparse")
    assert [set(header(shard)) for shard in tiny] == [set(header(shard)) for shard in true]
    assert sum(shard.hole_bytes for shard in tiny) < 10_000


@pytest.mark.parametrize("name", MODELS)
def test_every_companion_says_that_it_is_simulated(name: str) -> None:
    _, others = model_images(catalog.model(name), "sparse")
    assert all(b"simulated" in image.head for image in others)


@pytest.mark.parametrize("nodes", [1, 3, 64, 65, 2048])
def test_groups_of_ranks_share_all_parameters_among_them(nodes: int) -> None:
    groups = rank_groups(nodes, 8)
    assert [rank for ranks in groups for rank in ranks] == list(range(8 * nodes))
    images = optimizer_images(groups, parameters=1_000_003, step=5, sizes="sparse")
    assert len(images) == min(nodes, 64)
    assert sum(image.hole_bytes for image in images) == 12 * 1_000_003
    assert all(set(header(image)) == {"master_weights", "exp_avg", "exp_avg_sq"} for image in images)


@pytest.mark.parametrize("size", [2, 255, 256, 257, 270, 999, 1_000, 1_001, 2_000, 50_257, 128_256])
def test_vocabulary_has_every_id_once(size: int) -> None:
    document = json.loads(tokenizer_images(size, 1024)[0].head)
    vocabulary = document["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(size))
    assert list(vocabulary)[:256] == list(byte_alphabet())[:size]
    assert all(name == f"<|simulated_{token}|>" for name, token in vocabulary.items() if token > 292)
    for pair in document["model"]["merges"]:
        first, second = pair.split(" ")
        assert {first, second, first + second} <= vocabulary.keys()


def test_a_byte_has_one_visible_character() -> None:
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert all(character.isprintable() and not character.isspace() for character in alphabet)
    assert (alphabet[ord(" ")], alphabet[ord("A")]) == ("Ġ", "A")
