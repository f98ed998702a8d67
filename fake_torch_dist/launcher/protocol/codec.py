"""Encodes messages as lines of JSON, and decodes them into the types that their fields declare.

A field is a string, number, boolean, ``bytes`` (sent in hexadecimal), enumeration, tuple, dataclass, or one of these or
None. Keys that a class does not have are ignored; a key that is missing or of another type is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

_KIND: Final = "kind"
_DESCRIPTORS: Final = "descriptors"


@dataclass(frozen=True, slots=True)
class WireMessage:
    """Base class of all messages."""

    kind: ClassVar[str]
    """Name of the class in JSON; unique among the messages that one end of a channel receives."""


Received = TypeVar("Received", bound=WireMessage)


class NotAMessageError(ValueError):
    """A line is no JSON object of a message: the peer runs another program."""


class UnexpectedMessageError(ValueError):
    """A message has an unknown kind or wrong fields: the peer runs another version."""


def kinds(union: Any) -> Any:
    """Return the classes of a union by their ``kind``."""
    return {each.kind: each for each in get_args(union)}


def encode(message: WireMessage, num_descriptors: int = 0) -> bytes:
    """Return the message as one line, with the number of file descriptors that are sent with it."""
    return json.dumps({
        _KIND: message.kind, **_fields_of(message), _DESCRIPTORS: num_descriptors,
    }, default=_plain).encode() + b"\n"  # fmt: skip


def decode(line: bytes, known: Mapping[str, type[Received]]) -> tuple[Received, int]:
    """Return a message and its number of descriptors. Raises NotAMessageError or UnexpectedMessageError."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotAMessageError("no JSON") from error
    if not (isinstance(content, dict) and _KIND in content and type(content.get(_DESCRIPTORS)) is int):
        raise NotAMessageError("no message")
    kind = content[_KIND]
    if not isinstance(kind, str) or kind not in known:
        raise UnexpectedMessageError(f"unknown kind {kind!r}")
    return _object(known[kind], content), content[_DESCRIPTORS]


def _fields_of(thing: Any) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in fields(thing)}


def _plain(value: Any) -> Any:
    """Return what JSON has for a value that it does not know."""
    return value.hex() if isinstance(value, bytes) else _fields_of(value)


@cache
def _hints(message_class: type) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(message_class)
    return tuple((field, hints[field.name]) for field in fields(message_class))


def _object(wanted: type[Any], content: Any) -> Any:
    if not isinstance(content, dict):
        raise UnexpectedMessageError(f"no object for {wanted.__name__}")
    values = {}
    for field, hint in _hints(wanted):  # type: ignore[arg-type]  # mypy takes type[Any] for unhashable
        if field.name in content:
            values[field.name] = _typed(hint, content[field.name])
        elif field.default is MISSING:
            raise UnexpectedMessageError(f"{wanted.__name__} has no {field.name}")
    return wanted(**values)


def _typed(hint: Any, value: Any) -> Any:
    """Return ``value`` as the annotation ``hint`` says, or raise UnexpectedMessageError."""
    if type(value) is hint:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type):
        return _converted(hint, value)
    arguments = get_args(hint)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_typed(arguments[0], each) for each in value)
    if get_origin(hint) is Literal and value in arguments:
        return value
    if type(None) in arguments:
        return None if value is None else _typed(arguments[0], value)
    raise UnexpectedMessageError(f"{value!r:.80} is no {hint}")


def _converted(hint: type[Any], value: Any) -> Any:
    if is_dataclass(hint):
        return _object(hint, value)
    try:
        if hint is bytes and isinstance(value, str):
            return bytes.fromhex(value)
        if issubclass(hint, Enum):
            return hint(value)
    except ValueError as error:
        raise UnexpectedMessageError(str(error)) from error
    raise UnexpectedMessageError(f"{value!r:.80} is no {hint.__name__}")
