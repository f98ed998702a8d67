"""``FieldInfo``: default, description and rules of a field; the rules as pydantic's metadata have them."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin

from .markers import PlainSerializer

MISSING: Any = type("PydanticUndefinedType", (), {"__repr__": lambda self: "PydanticUndefined"})()
"""The default of a field that has none."""

BOUNDS: dict[str, tuple[str, str, Callable[[Any, Any], bool]]] = {
    "gt": ("greater_than", "Input should be greater than {}", lambda number, bound: number > bound),
    "ge": (
        "greater_than_equal", "Input should be greater than or equal to {}", lambda number, bound: number >= bound,
    ),
    "lt": ("less_than", "Input should be less than {}", lambda number, bound: number < bound),
    "le": ("less_than_equal", "Input should be less than or equal to {}", lambda number, bound: number <= bound),
    "min_length": ("string_too_short", "String is too short", lambda text, length: len(text) >= length),
    "max_length": ("string_too_long", "String is too long", lambda text, length: len(text) <= length),
    "finite": ("finite_number", "Input should be a finite number", lambda number, _: math.isfinite(number)),
}  # fmt: skip
"""Type of the error, its message and the test of each rule."""


class Rule:
    """A rule for a value. Its bound is an attribute under the rule's name, as in pydantic's metadata."""

    def __init__(self, name: str, bound: Any) -> None:
        self.name = name
        self.bound = bound
        setattr(self, name, bound)

    def broken(self, value: Any) -> tuple[str, str, dict[str, Any]] | None:
        """(type, message, context) of the error; None if the value keeps the rule."""
        kind, message, keeps = BOUNDS[self.name]
        if keeps(value, self.bound):
            return None
        return kind, message.format(self.bound), {} if self.name == "finite" else {self.name: self.bound}


class FieldInfo:
    """A field of a model."""

    def __init__(
        self,
        default: Any = MISSING,
        *,
        default_factory: Callable[..., Any] | None = None,
        description: str | None = None,
        **rules: Any,
    ) -> None:
        self.default = MISSING if default is ... else default
        self.default_factory = default_factory
        self.description = description
        self.annotation: Any = None
        self.factory_takes_data = default_factory is not None and _takes_data(default_factory)
        self.metadata: list[Any] = [Rule(name, bound) for name, bound in rules.items() if name in BOUNDS]
        if rules.get("allow_inf_nan") is False:
            self.metadata.append(Rule("finite", True))

    @property
    def serializer(self) -> Callable[[Any], Any] | None:
        """The function that gives the dumped form of a value; None: the value itself."""
        own = next((item.func for item in self.metadata if isinstance(item, PlainSerializer)), None)
        return own or _serializer_of_branch(self.annotation)

    def is_required(self) -> bool:
        """True without a default."""
        return self.default is MISSING and self.default_factory is None

    @classmethod
    def of(cls, hint: Any, default: Any) -> FieldInfo:
        """The field that a class declares with this annotation and this default."""
        declared = default if isinstance(default, FieldInfo) else cls(default)
        field = cls(declared.default, default_factory=declared.default_factory, description=declared.description)
        metadata: list[Any] = []
        if get_origin(hint) is Annotated:
            hint, *items = get_args(hint)
            for item in items:
                metadata += item.metadata if isinstance(item, FieldInfo) else [item]
        field.annotation, field.metadata = hint, [*metadata, *declared.metadata]
        return field


def Field(default: Any = MISSING, **rules: Any) -> Any:
    """Declare a field."""
    return FieldInfo(default, **rules)


def _serializer_of_branch(annotation: Any) -> Callable[[Any], Any] | None:
    branches = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    items = [item for branch in branches for item in getattr(branch, "__metadata__", ())]
    return next((item.func for item in items if isinstance(item, PlainSerializer)), None)


def _takes_data(factory: Callable[..., Any]) -> bool:
    """True for a default that follows from the fields before it."""
    if isinstance(factory, type):
        return False
    try:
        return len(inspect.signature(factory).parameters) == 1
    except (TypeError, ValueError):
        return False
