"""Stands in for pydantic in the page: the names that ``accelerate_sim`` uses, in Python, without pydantic-core.

Models, checks and errors are those that the package's schemas need; nothing else is here. Files are not read back in a
page, so a ``TypeAdapter`` cannot be made.
"""

from __future__ import annotations

from typing import Any

from .errors import ValidationError
from .fields import Field
from .markers import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    StrictBool,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)
from .models import BaseModel

__all__ = [
    "AfterValidator",
    "BaseModel",
    "BeforeValidator",
    "ConfigDict",
    "Discriminator",
    "Field",
    "PlainSerializer",
    "SerializationInfo",
    "SerializerFunctionWrapHandler",
    "StrictBool",
    "Tag",
    "TypeAdapter",
    "ValidationError",
    "field_validator",
    "model_serializer",
    "model_validator",
]


def ConfigDict(**options: Any) -> dict[str, Any]:
    """Options of a model."""
    return options


class TypeAdapter:
    """A check of a type that is no model. It cannot be made here."""

    def __init__(self, kind: Any) -> None:
        raise NotImplementedError("a page reads no files back")

    def __class_getitem__(cls, kind: Any) -> type[TypeAdapter]:
        return cls
