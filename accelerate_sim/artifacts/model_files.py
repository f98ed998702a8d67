"""The files of a saved model, as ``save_pretrained`` writes them: shards, index, configs and tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from accelerate_sim.artifacts.file_image import FileImage, json_image
from accelerate_sim.artifacts.model_config import config_images
from accelerate_sim.artifacts.safetensors import TensorShape, safetensors_image
from accelerate_sim.artifacts.tokenizer import tokenizer_images
from accelerate_sim.catalog import Architecture, ModelSpec, Tensor
from accelerate_sim.sim.memory.memory import WEIGHT_BYTES
from accelerate_sim.sim.storage import shard_tensors

Sizes = Literal["sparse", "tiny"]
"""``sparse``: tensors have their true shapes; ``tiny``: small shapes, which take little room on any file system."""

INDEX = "model.safetensors.index.json"
TINY_DIMENSION = 2


def shapes_of(tensors: Iterable[TensorShape], sizes: Sizes) -> list[TensorShape]:
    """The tensors as they are written: with ``tiny``, no dimension is longer than TINY_DIMENSION."""
    if sizes == "sparse":
        return list(tensors)
    return [(name, tuple(min(length, TINY_DIMENSION) for length in shape)) for name, shape in tensors]


def weight_images(model: Architecture, sizes: Sizes) -> tuple[list[FileImage], list[FileImage]]:
    """The shards, and their index if there are several."""
    parts = shard_tensors(model)
    images = [safetensors_image(name, shapes_of(tensors, sizes), "BF16") for name, tensors in parts]
    return images, [_index(parts, images)] if len(parts) > 1 else []


def model_images(spec: ModelSpec, sizes: Sizes) -> tuple[list[FileImage], list[FileImage]]:
    """(shards, other files) of a finished model; the others are configs, tokenizer and index."""
    model = spec.architecture
    shards, index = weight_images(model, sizes)
    configs = config_images(model, spec.tokenizer_vocab)
    return shards, [*configs, *tokenizer_images(spec.tokenizer_vocab, model.context), *index]


def _index(parts: list[tuple[str, list[Tensor]]], images: list[FileImage]) -> FileImage:
    total_bytes = sum(image.hole_bytes for image in images)
    return json_image(
        INDEX,
        {
            "metadata": {
                "total_parameters": total_bytes // WEIGHT_BYTES,
                "total_size": total_bytes,
                "simulated": True,
            },
            "weight_map": {tensor.name: name for name, tensors in parts for tensor in tensors},
        },
    )
