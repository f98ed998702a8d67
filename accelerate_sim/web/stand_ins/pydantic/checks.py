"""Makes the check of an annotation: a function that returns a raw value in this type, or raises ``Refused``."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import Refused, error_at, own_error, refused
from .fields import FieldInfo, Rule
from .markers import BeforeValidator, Discriminator, Strict, Tag
from .values import PLAIN, as_strict_bool

Check = Callable[[Any], Any]


def check_of(annotation: Any, metadata: Sequence[Any] = ()) -> Check:
    """The check of ``annotation``; ``metadata`` apply from the inside out."""
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        flat = [item for each in own for item in (each.metadata if isinstance(each, FieldInfo) else (each,))]
        return check_of(inner, (*flat, *metadata))
    check = _of_type(annotation, metadata)
    for item in metadata:
        if isinstance(item, Rule):
            check = _ruled(check, item)
    for item in metadata:
        if isinstance(item, BeforeValidator):
            check = _prepared(item.func, check)
    return check


def _of_type(annotation: Any, metadata: Sequence[Any]) -> Check:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        chooser = next((item for item in metadata if isinstance(item, Discriminator)), None)
        return _tagged(arguments, chooser.discriminator) if chooser else _union(arguments)
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is list:
        items = _tuple((*arguments, Ellipsis))
        return lambda value: list(items(value))
    if origin in (dict, Mapping) and arguments == (str, Any):
        return _mapping
    if hasattr(annotation, "validated"):
        of_model: Check = annotation.validated
        return of_model
    if annotation is bool and any(isinstance(item, Strict) for item in metadata):
        return as_strict_bool
    if is_dataclass(annotation) or hasattr(annotation, "_field_defaults"):
        return _record(annotation)
    return PLAIN[annotation]


def _prepared(prepare: Callable[[Any], Any], check: Check) -> Check:
    def prepared(value: Any) -> Any:
        try:
            value = prepare(value)
        except ValueError as error:
            raise own_error(error, value) from None
        return check(value)

    return prepared


def _ruled(check: Check, rule: Rule) -> Check:
    def ruled(value: Any) -> Any:
        result = check(value)
        if result is not None and (error := rule.broken(result)):
            kind, message, context = error
            raise refused(kind, value, message, context)
        return result

    return ruled


def _union(arguments: Sequence[Any]) -> Check:
    branches = [check_of(each) for each in arguments if each is not type(None)]
    optional = type(None) in arguments

    def union(value: Any) -> Any:
        if value is None and optional:
            return None
        errors: list[dict[str, Any]] = []
        for branch in branches:
            try:
                return branch(value)
            except Refused as refusal:
                errors += refusal.errors
        raise Refused(*errors)

    return union


def _tagged(arguments: Sequence[Any], choose: Callable[[Any], str]) -> Check:
    tags = {next(item.tag for item in get_args(each)[1:] if isinstance(item, Tag)): each for each in arguments}
    branches = {tag: check_of(each) for tag, each in tags.items()}

    def tagged(value: Any) -> Any:
        tag = choose(value)
        try:
            return branches[tag](value)
        except Refused as refusal:
            raise refusal.below(tag) from None

    return tagged


def _literal(choices: Sequence[Any]) -> Check:
    expected = ", ".join(map(repr, choices))

    def literal(value: Any) -> Any:
        if isinstance(value, str | int) and value in choices:
            return value
        raise refused("literal_error", value, f"Input should be {expected}", {"expected": expected})

    return literal


def _mapping(value: Any) -> dict[str, Any]:
    """The check of ``dict[str, Any]``."""
    if not isinstance(value, dict):
        raise refused("dict_type", value, "Input should be a valid dictionary")
    errors = [error_at((key, "[key]"), "string_type", key) for key in value if not isinstance(key, str)]
    if errors:
        raise Refused(*errors)
    return dict(value)


def _record(kind: Any) -> Check:
    """The check of a mapping that becomes a dataclass or a named tuple; other names in it are ignored."""
    checks: dict[str, Check] = {}

    def record(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, dict):
            raise refused("dict_type", value, "Input should be a valid dictionary")
        if not checks:  # names of types are looked up at the first use
            hints = get_type_hints(kind, include_extras=True)
            names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind._fields
            checks.update((name, check_of(hints[name])) for name in names)
        values: dict[str, Any] = {}
        errors: list[dict[str, Any]] = []
        for name in filter(value.__contains__, checks):
            try:
                values[name] = checks[name](value[name])
            except Refused as refusal:
                errors += refusal.below(name).errors
        if errors:
            raise Refused(*errors)
        try:
            return kind(**values)
        except TypeError as error:
            raise refused("missing", value, str(error)) from None

    return record


def _tuple(arguments: Sequence[Any]) -> Check:
    any_length = len(arguments) == 2 and arguments[1] is Ellipsis
    checks = [check_of(each) for each in arguments if each is not Ellipsis]

    def pair(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise refused("tuple_type", value)
        errors: list[dict[str, Any]] = []
        result = []
        for index, check in enumerate(checks * len(value) if any_length else checks):
            if index >= len(value):
                errors.append(error_at((index,), "missing", value, "Field required"))
                continue
            try:
                result.append(check(value[index]))
            except Refused as refusal:
                errors += refusal.below(index).errors
        if not any_length and len(value) > len(checks):
            raise refused("too_long", value, "", {"max_length": len(checks)})
        if errors:
            raise Refused(*errors)
        return tuple(result)

    return pair
