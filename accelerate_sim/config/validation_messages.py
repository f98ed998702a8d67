"""Words the errors of the schema's validation: the value, the expected one, and the way out."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from accelerate_sim.config.keys import KeyPath, dotted, field_at, meant, value_at
from accelerate_sim.config.problems import Problem, printable, shorten, shown

LONGEST_REASON = 300
_BOUNDS = {
    "greater_than": ("is not above", "gt"),
    "greater_than_equal": ("is below", "ge"),
    "less_than": ("is not below", "lt"),
    "less_than_equal": ("is above", "le"),
}
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a switch (true/false)"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (Mapping, "a mapping"),
)


def field_problems(error: ValidationError, data: Mapping[str, Any]) -> list[tuple[KeyPath, Problem]]:
    """Problems by the path of the key, one for each key that the schema refuses."""
    problems: dict[KeyPath, Problem] = {}
    for details in error.errors(include_url=False, include_input=False):
        if details["type"] != "default_factory_not_called":  # it has no value because another key has a bad one
            path = _path(details["loc"])
            problems.setdefault(path, _problem(path, dict(details), value_at(data, path)))
    return list(problems.items())


def _path(location: Iterable[int | str]) -> KeyPath:
    """Path of an error in the file, without branches of unions and positions in pairs."""
    names = [name for name in location if isinstance(name, str)]
    if names[0] == "model" and len(names) > 1:
        del names[1]
    return tuple(names)


def _problem(path: KeyPath, details: dict[str, Any], value: Any) -> Problem:
    key, kind = shorten(dotted(path)), details["type"]
    if kind == "extra_forbidden":
        return unknown_key(path)
    field = field_at(path)
    if kind == "missing" and value is None:
        return Problem.about(key, None, f"{key} is missing", f"Add it: {expected(field)}.")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        reason = f"is {kind_of(value)}, not a mapping"
        way_out = (isinstance(value, str) and _with_space(value)) or f"Write its keys indented below '{key}:'."
        return Problem.about(key, shown(value), reason, way_out)
    if kind == "value_error":
        return _own_problem(key, str(details["ctx"]["error"]), value, field)
    reason = _reason(kind, details.get("ctx", {}), field, value)
    return Problem.about(key, shown(value), reason, f"Use {expected(field)}.")


def unknown_key(path: KeyPath) -> Problem:
    """The problem of a key that the schema does not have, with a guess at the intended one."""
    key, guess = shorten(dotted(path)), meant(path)
    way_out = f"Did you mean '{guess}'?" if guess else "--print-config shows all keys."
    way_out = _with_space(path[-1]) or way_out
    return Problem.about(key, None, f"unknown key '{key}'", way_out)


def _with_space(text: str) -> str:
    """The way out for text with a colon but no space after it, which YAML does not read as a key; else empty."""
    found = re.fullmatch(r"(\w+):([^\s:/]+)(?:\s.*)?", text)
    return f"A space goes after the colon: '{shorten(found[1])}: {shorten(found[2])}'." if found else ""


def _own_problem(key: str, message: str, value: Any, field: FieldInfo | None) -> Problem:
    """(reason, way out) from the message of one of the schema's own validators."""
    reason, _, way_out = re.sub(r"\s+", " ", printable(message))[:LONGEST_REASON].partition("; ")
    way_out = f"{way_out[:1].upper()}{way_out[1:]}." if way_out else ""
    if isinstance(value, Mapping):
        return Problem.about(key, None, f"{key}: {reason}", way_out)
    return Problem.about(key, shown(value), reason, way_out or f"Use {expected(field)}.")


def _reason(kind: str, context: dict[str, Any], field: FieldInfo | None, value: Any) -> str:
    if _is_pair(field):
        return f"is not {_pair(field)}"
    if kind == "finite_number" or (isinstance(value, float) and not math.isfinite(value)):
        return "is not finite"  # whichever of its checks the library has made first
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {_number(context[bound])}"
    if kind == "literal_error":
        return "is not known"
    if kind == "int_from_float":
        return "is not a whole number"
    if kind == "string_too_short":
        return "is empty"
    if kind == "string_too_long":
        return f"is longer than {context['max_length']} characters"
    return f"is {kind_of(value)}, not {_noun(field)}"


def kind_of(value: Any) -> str:
    """The kind of a value in plain words."""
    return "nothing" if value is None else next((name for kind, name in _KINDS if isinstance(value, kind)), "odd")


def expected(field: FieldInfo | None) -> str:
    """The expected value, such as ``a whole number from 1 to 10,000, e.g. 3``."""
    if field is None:
        return "another value"
    if _is_pair(field):
        return f"{_pair(field)}, as [low, high]"
    choices = _choices(field.annotation)
    if choices:
        return "one of " + ", ".join(map(str, choices))
    takes_example = isinstance(field.default, int | float | str) and not isinstance(field.default, bool)
    example = f", e.g. {shown(field.default)}" if takes_example else ""
    return _noun(field) + _range(field) + example


def _noun(field: FieldInfo | None) -> str:
    types = _types(field.annotation) if field else set()
    nouns = {
        list: "a list", bool: "true or false", int: "a whole number", float: "a number", str: "a name",
        tuple: "two numbers",
    }  # fmt: skip
    return next((noun for kind, noun in nouns.items() if kind in types), "a mapping")


def _is_pair(field: FieldInfo | None) -> bool:
    return field is not None and tuple in _types(field.annotation)


def _pair(field: FieldInfo | None) -> str:
    return f"two numbers{_range(field)}" if field else "two numbers"


def _range(field: FieldInfo) -> str:
    bounds = {
        name: bound
        for item in _constraints(field.annotation, field.metadata)
        for name in ("gt", "ge", "le")
        if (bound := getattr(item, name, None)) is not None
    }
    if "ge" in bounds and bounds.get("le", 1e18) < 1e18:
        return f" from {_number(bounds['ge'])} to {_number(bounds['le'])}"
    if "ge" in bounds:
        return f" of at least {_number(bounds['ge'])}"
    return f" above {_number(bounds['gt'])}" if "gt" in bounds else ""


def _constraints(annotation: Any, metadata: Iterable[Any]) -> Iterable[Any]:
    """The constraints of a field and of all branches of its type."""
    for item in (*metadata, *getattr(annotation, "__metadata__", ())):
        yield from item.metadata if isinstance(item, FieldInfo) else (item,)
    for branch in get_args(annotation):
        if get_args(branch) and get_origin(annotation) is not Literal:
            yield from _constraints(branch, ())


def _types(annotation: Any) -> set[Any]:
    """The types in an annotation; ``list`` for a tuple of any length."""
    branches = get_args(annotation)
    inner = [found for branch in branches for found in _types(branch)]
    outer = list if Ellipsis in branches else annotation if isinstance(annotation, type) else get_origin(annotation)
    return {outer, *inner}


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a key that takes one of a few, ``null`` included where it may be left open."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    found = tuple(choice for branch in get_args(annotation) for choice in _choices(branch))
    return (*found, "null") if found and type(None) in get_args(annotation) else found


def _number(bound: float) -> str:
    return f"{int(bound):,}" if float(bound).is_integer() else f"{bound:.6g}"
