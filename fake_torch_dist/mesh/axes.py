"""Rank arithmetic of device meshes: the distances of a dimension, of several, and of all lines along them.

A dimension is a tuple of distances: entry i is the distance of its i-th rank from its first in the flat list of the
root mesh's ranks. The dimensions of a mesh of shape (2, 4) are (0, 4) and (0, 1, 2, 3). Two dimensions are the same
exactly if their tuples are equal, whatever slicing or flattening made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from math import prod
from typing import TypeAlias

Axis: TypeAlias = tuple[int, ...]
"""Distances from the first rank of a line, the first of which is 0."""


def axes_of_shape(shape: Sequence[int]) -> tuple[Axis, ...]:
    """The dimensions of a whole mesh of ``shape``, whose ranks are listed in rows."""
    steps = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return tuple(tuple(range(0, size * step, step)) for size, step in zip(shape, steps, strict=True))


def joined(axes: Sequence[Axis]) -> Axis:
    """One dimension with the ranks of all of ``axes``, the last of which varies fastest."""
    return tuple(sum(distances) for distances in product(*axes))


def split(axis: Axis, sizes: Sequence[int]) -> tuple[Axis, ...] | None:
    """The dimensions of ``sizes`` that ``joined`` makes ``axis`` of; None if no such dimensions exist."""
    steps = [prod(sizes[index + 1 :]) for index in range(len(sizes))]
    parts = tuple(tuple(axis[index * step] for index in range(size)) for size, step in zip(sizes, steps, strict=True))
    return parts if joined(parts) == axis else None


def overlap(axes: Sequence[Axis]) -> bool:
    """True if two combinations of distances along ``axes`` are the same rank."""
    places = joined(axes)
    return len(set(places)) < len(places)


def strides(axis: Axis) -> tuple[int, ...]:
    """Distances between neighbours, the largest blocks first; one number for a regular dimension, none for size 1."""
    if len(axis) == 1:
        return ()
    step = axis[1]
    run = next((place for place in range(2, len(axis)) if axis[place] != place * step), len(axis))
    return (*strides(axis[::run]), step)


def is_rising(axes: Sequence[Axis]) -> bool:
    """True if ``axes`` are in the order of the root mesh: no distance between neighbours is less than a later one."""
    steps = [step for axis in axes for step in strides(axis)]
    return all(before >= after for before, after in pairwise(steps))


def all_lines(axes: Sequence[Axis], size: int) -> list[list[int]]:
    """Every translation of ``joined(axes)`` that tiles the indices 0 to ``size - 1``, by their first index."""
    distances = joined(axes)
    free = [True] * size
    lines = []
    for first in range(size):
        if free[first]:
            lines.append([first + distance for distance in distances])
            for index in lines[-1]:
                free[index] = False
    return lines
