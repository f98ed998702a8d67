"""The content of a file that is to be written: some bytes, then a hole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FileImage:
    """``head``, followed by ``hole_bytes`` bytes that read as zeros and occupy nothing."""

    name: str
    head: bytes
    hole_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.head) + self.hole_bytes


def json_image(name: str, document: Mapping[str, Any]) -> FileImage:
    """A JSON file as Hugging Face's libraries write it: indented by two, a newline at the end."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return FileImage(name, text.encode() + b"\n")
