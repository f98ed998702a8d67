"""Arguments of stores: keys and values as bytes, and torch's error for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import NoReturn

Text = str | bytes
"""The types that torch accepts for a key or a value."""

INCOMPATIBLE = "{call}(): incompatible function arguments: {name} is {value!r}, not {wanted}"  # TypeError, torch 2.13.0


def wrong_argument(call: str, name: str, value: object, wanted: str) -> NoReturn:
    raise TypeError(INCOMPATIBLE.format(call=call, name=name, value=value, wanted=wanted))


def as_int64(call: str, name: str, value: object) -> int:
    try:
        number = index(value)  # type: ignore[arg-type]  # TypeError if it is no whole number
    except TypeError:
        number = 2**63
    if not -(2**63) <= number < 2**63:
        wrong_argument(call, name, value, "an int of 64 bits")
    return number


def as_flag(call: str, name: str, value: object) -> bool:
    try:
        return bool(value)
    except (TypeError, ValueError):  # an array of several elements, say
        wrong_argument(call, name, value, "a bool")


def as_bytes(call: str, name: str, value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            wrong_argument(call, name, value, "text that can be encoded")
    if not isinstance(value, bytes | bytearray):
        wrong_argument(call, name, value, "str or bytes")
    return bytes(value)


def as_list_of_bytes(call: str, name: str, values: object) -> list[bytes]:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes | bytearray):
        wrong_argument(call, name, values, "a sequence of str")
    return [as_bytes(call, name, value) for value in values]
