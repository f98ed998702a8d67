"""Writes a config as a YAML file with a comment on each key: its meaning, its possible values and its default."""

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.validation_messages import expected
from accelerate_sim.config.yaml_reader import plain_scalar

WIDTH = 100
"""Columns of the longest comment line."""
_PLAIN = re.compile(r"[A-Za-z][\w.-]*( [\w.-]+)*")


def documented_yaml(config: RunConfig) -> str:
    """The whole config as YAML text that loads to the same config."""
    return "\n".join(_section_lines(config, "")).lstrip("\n") + "\n"


def _section_lines(section: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            if not indent:
                yield ""
            yield from _comment(field.description or _first_line(value), indent)
            yield f"{indent}{name}:"
            yield from _section_lines(value, indent + "  ")
        else:
            yield from _comment(_explanation(field), indent)
            yield f"{indent}{name}: {_yaml(_serialized(section, name, value))}"


def _explanation(field: FieldInfo) -> str:
    """The comment on a key: its meaning, its possible values and its default."""
    description = (field.description or "").strip()
    allowed = expected(field).partition(", e.g. ")[0]
    parts = [description]
    if allowed not in ("a name", "a number", "a mapping", "another value"):
        parts.append(f"{allowed[0].upper()}{allowed[1:]}.")
    if not field.is_required() and field.default_factory is None and "null:" not in description:
        parts.append(f"Default: {_yaml(_default(field))}.")
    return " ".join(filter(None, parts))


def _default(field: FieldInfo) -> Any:
    for item in field.metadata:
        if (serialize := getattr(item, "func", None)) and type(item).__name__ == "PlainSerializer":
            return serialize(field.default)
    return field.default


def _first_line(section: BaseModel) -> str:
    return (type(section).__doc__ or "").strip().splitlines()[0]


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(text, WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False):
        yield f"{indent}# {line}"


def _serialized(section: BaseModel, name: str, value: Any) -> Any:
    """A value as a file writes it: 'max' for an infinite speed, 'epoch' for no interval."""
    return section.model_dump(include={name})[name] if isinstance(value, int | float) else value


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and plain_scalar(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return _float(value) if isinstance(value, float) else str(value)


def _float(value: float) -> str:
    """The shortest digits that read back as the same number, small ones as people write them: 1.5e-4."""
    if value.is_integer() and abs(value) < 1e6:
        return str(int(value))
    if 1e-3 <= abs(value) < 1e6:
        return repr(value)
    texts = (f"{value:.{digits}e}" for digits in range(18))
    mantissa, _, power = next(text for text in texts if float(text) == value).partition("e")
    # YAML 1.1 wants a point and a sign.
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(power):+d}"
