"""Markers that annotations and methods carry: validators, serializers, tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any


class BeforeValidator:
    """A function that changes or refuses a raw value before its type is checked."""

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self.func = func


class AfterValidator:
    """A function that changes or refuses a value of the right type."""

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self.func = func


class PlainSerializer:
    """A function that gives the dumped form of a value."""

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self.func = func


class SerializationInfo:
    """The form that a dump has, for a serializer of a whole model."""

    def __init__(self, mode: str) -> None:
        self.mode = mode


SerializerFunctionWrapHandler = Callable[[Any], dict[str, Any]]
"""The dump of a model as it would be without its own serializer."""


class Discriminator:
    """A function that chooses the branch of a union by its tag."""

    def __init__(self, discriminator: Callable[[Any], str]) -> None:
        self.discriminator = discriminator


class Tag:
    """The name of a branch."""

    def __init__(self, tag: str) -> None:
        self.tag = tag


class Strict:
    """Marks a type that takes no value of another one."""


StrictBool = Annotated[bool, Strict()]


def field_validator(*names: str, mode: str = "after") -> Callable[[Any], Any]:
    """Mark a class method as the validator of these fields."""

    def mark(method: Any) -> Any:
        function = getattr(method, "__func__", method)
        function.validated_fields = names
        return function

    return mark


def model_validator(*, mode: str) -> Callable[[Any], Any]:
    """Mark a method as the validator of the whole model, once its fields are set."""

    def mark(method: Any) -> Any:
        method.validates_model = True
        return method

    return mark


def model_serializer(*, mode: str) -> Callable[[Any], Any]:
    """Mark a method as the one that changes the dump of the whole model; only the mode ``wrap`` is here."""

    def mark(method: Any) -> Any:
        method.serializes_model = True
        return method

    return mark
