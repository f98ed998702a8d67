"""``validated``: the config of those keys that the schema and the catalogs accept, and problems with the others."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from accelerate_sim.config.checks.names import unknown_names
from accelerate_sim.config.keys import KeyPath, without
from accelerate_sim.config.problems import Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.validation_messages import field_problems

Found = list[tuple[KeyPath, Problem]]
"""Problems, each with the path of the key to leave out."""


def validated(data: dict[str, Any]) -> tuple[RunConfig, Found]:
    """(config without the refused keys, problems of those keys)."""
    found: Found = []
    while True:
        try:
            config = RunConfig.model_validate(data)
        except ValidationError as error:
            problems = field_problems(error, data)
        else:
            problems = [(tuple(problem.key.split(".")), problem) for problem in unknown_names(config)]
        if not problems:
            return config, found
        found += problems
        data = leave_out(data, (path for path, _ in problems))


def leave_out(data: Mapping[str, Any], paths: Iterable[KeyPath]) -> dict[str, Any]:
    """``data`` without these keys. An architecture or a ramp that would lack a key is removed as a whole."""
    left = dict(data)
    for path in paths:
        left = without(left, path[:1] if path[0] == "model" else path[:2])
    return left
