"""Checks of plain values: each returns the value in its type, or raises ``Refused``."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .errors import refused

TRUTHS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


def as_none(value: Any) -> None:
    if value is not None:
        raise refused("none_required", value)


def as_int(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise refused("finite_number", value)
        if not value.is_integer():
            raise refused("int_from_float", value)
        return int(value)
    if isinstance(value, str):
        return int(_parsed(int, "int_parsing", value))
    raise refused("int_type", value)


def as_float(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return float(_parsed(float, "float_parsing", value))
    raise refused("float_type", value)


def _parsed(kind: Callable[[str], Any], error: str, text: str) -> Any:
    try:
        return kind(text.strip())
    except ValueError:
        raise refused(error, text) from None


def as_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise refused("string_type", value)


def as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in TRUTHS:
        return TRUTHS[value.lower()]
    raise refused("bool_parsing" if isinstance(value, str | int) else "bool_type", value)


def as_strict_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise refused("bool_type", value)


def as_datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        moment: datetime = _parsed(datetime.fromisoformat, "datetime_parsing", value)
        return moment
    raise refused("datetime_type", value)


PLAIN: dict[Any, Callable[[Any], Any]] = {
    None: as_none, type(None): as_none, int: as_int, float: as_float, str: as_str, bool: as_bool,
    datetime: as_datetime,    Any: lambda value: value,
}  # fmt: skip
"""The check of each plain type."""
