"""Safetensors files with a valid header, whose tensor data is a hole.

The format (https://github.com/huggingface/safetensors): eight bytes with the header's length, the header as JSON, the
tensors one after the other. What this does not do: hold a single weight.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping

from accelerate_sim.artifacts.file_image import FileImage

DTYPE_BYTES = {"BF16": 2, "F32": 4}
ALIGNMENT_BYTES = 8
"""The tensor data begins at a multiple of this many bytes."""
METADATA = {"format": "pt", "simulated": "true"}

TensorShape = tuple[str, tuple[int, ...]]
"""Name and shape of a tensor."""


def safetensors_image(
    name: str, tensors: Iterable[TensorShape], dtype: str, metadata: Mapping[str, str] | None = None
) -> FileImage:
    """The file that holds these tensors in this order."""
    header: dict[str, object] = {"__metadata__": {**METADATA, **(metadata or {})}}
    end = 0
    for tensor, shape in tensors:
        begin, end = end, end + DTYPE_BYTES[dtype] * math.prod(shape)
        header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT_BYTES)
    return FileImage(name, struct.pack("<Q", len(text)) + text, end)
