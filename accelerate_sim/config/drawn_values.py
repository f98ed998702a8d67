"""Draws the values of ``{draw: ...}``, anew for each run.

A draw is a pure function of the run's seed, the key and the attempt, so run 3 of a session can be repeated alone.
``[low, high]`` is a range of numbers, for ``model`` a range of parameter counts; any other list is a choice; ``any`` is
every name in the catalog.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from accelerate_sim import catalog
from accelerate_sim.config.checks.names import NAMES, unknown_name
from accelerate_sim.config.keys import KeyPath, dotted, field_at, with_value
from accelerate_sim.config.problems import Problem, shown
from accelerate_sim.config.validation_messages import unknown_key

_HOW = "Write {draw: [low, high]}, {draw: [a, b, c]} or, for names, {draw: any}."


class BadDraw(ValueError):
    """A draw cannot be carried out; the message has the reason and the way out."""

    def __init__(self, reason: str, way_out: str = _HOW) -> None:
        self.reason, self.way_out = reason, way_out
        super().__init__(reason)


def draws_in(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Yield the path and the mapping of each value that is to be drawn."""
    for name, value in data.items():
        if _is_draw(value):
            yield (name,), value
        elif isinstance(value, Mapping) and name != "model":
            yield from (((name, key), inner) for key, inner in value.items() if _is_draw(inner))


def _is_draw(value: Any) -> bool:
    return isinstance(value, Mapping) and "draw" in value


def draw_value(path: KeyPath, written: Mapping[str, Any], seed: int, attempt: int = 0) -> Any:
    """The value at ``path`` in the run with this seed; raises :class:`BadDraw`."""
    share = _unit(f"{seed}/draw/{dotted(path)}/{attempt}")
    choices = candidates(path, written)
    if not _is_range(choices) or path == ("model",):
        return choices[int(share * len(choices))]
    low, high = choices
    field = field_at(path)
    if all(float(end).is_integer() for end in (low, high)) and not (field and field.annotation is float):
        return int(low) + int(share * (int(high) - int(low) + 1))
    # Six digits are few enough to copy into a config.
    return min(max(float(f"{low + share * (high - low):.6g}"), float(low)), float(high))


def candidates(path: KeyPath, written: Mapping[str, Any]) -> list[Any]:
    """Candidates of a draw: all values of a choice, or both ends of a range. Raises :class:`BadDraw`."""
    key, spec = dotted(path), written["draw"]
    if path == ("run", "seed"):
        raise BadDraw("is drawn, and decides what is drawn", "Write the seed; each run adds 1 to it.")
    if len(written) > 1:
        raise BadDraw("has keys beside 'draw'")
    if spec == "any":
        if key not in NAMES:
            raise BadDraw("is not a name of the catalog, so there is no 'any'", "Write {draw: [low, high]}.")
        return list(NAMES[key]())
    if not isinstance(spec, list) or not spec:
        raise BadDraw("does not say what to draw from")
    if not _is_range(spec):
        return spec
    low, high = spec
    if not math.isfinite(low) or not math.isfinite(high) or low > high:
        raise BadDraw("is not a range from low to high", f"Write {{draw: {shown(sorted(spec))}}}.")
    return _models_between(low, high) if key == "model" else spec


def _models_between(low: float, high: float) -> list[Any]:
    names = [name for name in catalog.model_names() if low <= catalog.model(name).architecture.parameters <= high]
    if not names:
        raise BadDraw("has no model of the catalog in its range of parameters", "Use e.g. {draw: [7e9, 70e9]}.")
    return list(names)


def _is_range(spec: Any) -> bool:
    return len(spec) == 2 and all(isinstance(end, int | float) and not isinstance(end, bool) for end in spec)


def bad_draws(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Problem]]:
    """Problems with the candidates of draws. Whether the values suit their keys is checked by the schema."""
    for path, written in draws_in(data):
        key = dotted(path)
        if unknown := next((path[:end] for end in (1, 2) if field_at(path[:end]) is None), None):
            yield unknown, unknown_key(unknown)
            continue
        try:
            values = candidates(path, written)
        except BadDraw as bad:
            yield path, Problem.about(key, shown(written), bad.reason, bad.way_out)
            continue
        named = values if key in NAMES and written["draw"] != "any" else []
        for name in named:
            if isinstance(name, str) and (problem := unknown_name(key, name)):
                yield path, problem


def values_to_check(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """The values that draws may give, as written: every value of a choice, and the ends of a range."""
    for path, written in draws_in(data):
        if written["draw"] != "any" and not (path == ("model",) and _is_range(written["draw"])):
            yield from ((path, value) for value in written["draw"])


def with_draws(data: Mapping[str, Any], seed: int, attempt: int) -> dict[str, Any]:
    """``data`` with every draw replaced by its value."""
    drawn = dict(data)
    for path, written in draws_in(data):
        drawn = with_value(drawn, path, draw_value(path, written, seed, attempt))
    return drawn


def _unit(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "little") / 2**48
