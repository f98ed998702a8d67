"""Leaves out the problems that follow from a key that was refused, so that a message is about a mistake itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate_sim.config.keys import KeyPath, field_at, meant, path_of, value_at
from accelerate_sim.config.problems import Problem


def of_their_own(
    disagreeing: Sequence[Problem], offending: Sequence[KeyPath], data: Mapping[str, Any]
) -> list[Problem]:
    """Problems that do not follow from a refused key, which has its default, or from an unwritten key."""
    if not offending:
        return list(disagreeing)
    suspects = [suspect for path in offending if (suspect := _meant(path))]
    if len(suspects) < len(offending):
        return []  # an unknown key that resembles no known key may have been meant as any of them
    written = (problem for problem in disagreeing if value_at(data, path_of(problem.key)) is not None)
    return [problem for problem in written if not _involves(problem, [*offending, *suspects])]


def _meant(path: KeyPath) -> KeyPath | None:
    """The known key that was written, or that a misspelt one means."""
    for end in range(1, len(path) + 1):
        if path[0] != "model" and field_at(path[:end]) is None:
            guess = meant(path[:end])
            return path_of(guess) if guess else None
    return path


def _involves(problem: Problem, offending: Sequence[KeyPath]) -> bool:
    """Return True if a key of the problem, or its section, was left out of the config."""
    keys = [path_of(key) for key in (problem.key, *problem.related)]
    return any(key[: len(path)] == path or path[: len(key)] == key for key in keys for path in offending)
