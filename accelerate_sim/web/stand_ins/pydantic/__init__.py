"""Stands in for pydantic in the page: the names that ``accelerate_sim`` uses, in Python, without pydantic-core.

Models, checks and errors are those that the package's schemas need; nothing else is here.
"""

from __future__ import annotations

import json
from typing import Any

from .checks import check_of
from .errors import Refused, ValidationError
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
    """A check of a type that is no model, such as the sums that a run goes on with after a restart."""

    def __init__(self, kind: Any) -> None:
        self._title = getattr(kind, "__name__", str(kind))
        self._check = check_of(kind)

    def __class_getitem__(cls, kind: Any) -> type[TypeAdapter]:
        return cls

    def validate_python(self, value: Any, *, strict: bool = False) -> Any:
        """The value in this type. A page reads what it has written itself, so ``strict`` refuses nothing more."""
        try:
            return self._check(value)
        except Refused as refusal:
            raise ValidationError(self._title, list(refusal.errors)) from None

    def validate_json(self, text: str | bytes, *, strict: bool = False) -> Any:
        """The value of a JSON text."""
        return self.validate_python(json.loads(text), strict=strict)
