"""Reads files of an earlier process and checks everything: JSON, then types and ranges. Raises :class:`Damaged`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from accelerate_sim.config.problems import shown

T = TypeVar("T")
LARGEST_NUMBER = 1e30
"""Largest number that a file may hold: sums and products of such numbers stay finite."""


class Damaged(Exception):
    """A directory or file is damaged; the message completes a sentence that begins with its name."""


def document_of(data: bytes, name: str) -> dict[str, Any]:
    """Return the object in the JSON file ``name``. Raises :class:`Damaged`, also for a number that is not finite."""
    try:
        document = json.loads(data, parse_float=_number, parse_int=_whole_number, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its bytes"
        raise Damaged(f"has a {name} that is no JSON ({where}): it was cut off or changed") from None
    except OverflowError:
        raise Damaged(f"has a {name} with a number that is not finite, or far too large") from None
    if not isinstance(document, dict):
        raise Damaged(f"has a {name} that is no JSON object")
    return document


def conforming(kind: TypeAdapter[T], document: object, name: str) -> T:
    """Return ``document`` as an object of ``kind``. Raises :class:`Damaged` with the first field that does not fit."""
    try:
        return kind.validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        if first["type"] in ("missing", "missing_argument"):
            raise Damaged(f"has a {name} without {shown(field)}: another version wrote it, or it was changed") from None
        value = shown(first["input"])
        raise Damaged(f"has a {name} that was changed: {shown(field)} can't be {value}") from None


def checksum_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object, independent of spaces and line breaks in its file."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _number(text: str) -> float:
    value = float(text)
    if not math.fabs(value) <= LARGEST_NUMBER:
        raise OverflowError
    return value


def _whole_number(text: str) -> int:
    if len(text) > 30:
        raise OverflowError
    return int(text)


def _refuse(text: str) -> NoReturn:
    raise OverflowError(text)
