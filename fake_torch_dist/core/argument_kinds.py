"""Checks of the kinds of arguments: each returns its argument, or raises TypeError with its name and its value.

They stand where a wrong kind would fail further inside, with an error about code that the caller has not written. The
sentence is torch's, which names the type that is wanted.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from operator import index
from typing import Any

import numpy as np

from fake_torch_dist import errors


def wrong_kind(name: str, wanted: str, value: object) -> TypeError:
    """The error for an argument ``name`` that is not of the type ``wanted``."""
    return TypeError(f"{errors.INVALID_ARGUMENT.format(name=name, wanted=wanted)}, got {described(value)}")


def described(value: object) -> str:
    """A short value with its type, ``kind_of`` for objects."""
    if value is None or isinstance(value, type):
        return repr(value)
    if isinstance(value, str | bytes | int | float | list | tuple | dict | set):
        return f"{reprlib.repr(value)} ({type(value).__name__})"
    return kind_of(value)


def kind_of(value: object) -> str:
    """The type of a value, and the shape of an array."""
    return f"an ndarray of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def whole_number(name: str, value: Any, wanted: str = "int") -> int:
    """A rank, a size or a tag; whole numbers of numpy are taken, too."""
    if type(value) is int:
        return value
    try:
        return index(value)
    except TypeError:
        raise wrong_kind(name, wanted, value) from None


def whole_numbers(name: str, value: Any) -> list[int]:
    """A list of ranks or sizes, from anything that lists them."""
    wanted = "List[int]"
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise wrong_kind(name, wanted, value)
    given = list(value)
    try:
        return [index(each) for each in given]
    except TypeError:
        raise wrong_kind(name, wanted, given) from None


def lists_of_numbers(name: str, value: Any) -> list[list[int]]:
    """A list of lists of ranks."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise wrong_kind(name, "List[List[int]]", value)
    given = list(value)
    try:
        return [whole_numbers(name, each) for each in given]
    except TypeError:
        raise wrong_kind(name, "List[List[int]]", given) from None


def listed(name: str, value: Any, *, written: bool = False) -> Any:
    """A list of objects, one that can be written into if it is ``written``."""
    if not isinstance(value, (MutableSequence if written else Sequence) | np.ndarray) or isinstance(
        value, str | bytes | bytearray
    ):
        raise wrong_kind(name, "List[Any]", value)
    return value


def text(name: str, value: Any) -> str:
    """A name."""
    if not isinstance(value, str):
        raise wrong_kind(name, "str", value)
    return value


def is_set(name: str, value: Any) -> bool:
    """True for a flag that is set. Anything that has a truth is a flag, so an array of several elements is none."""
    if value is False or value is True:
        return value is True
    try:
        return bool(value)
    except (TypeError, ValueError):
        raise wrong_kind(name, "bool", value) from None
