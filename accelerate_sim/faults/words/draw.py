"""Values that texts take at random, such as addresses: each is a hash of a seed and the name of its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from accelerate_sim.sim.noise import seed_of

Item = TypeVar("Item")
BITS = 56
"""Bits of one hash."""


class Draw:
    """Reproducible random values: the same seed and names give the same value in any process and any order."""

    def __init__(self, *names: object) -> None:
        self._seed = seed_of(*names)

    def within(self, name: object) -> Draw:
        """Draws of their own, for one of several places that use the same names."""
        return Draw(self._seed, name)

    def below(self, name: object, bound: int) -> int:
        """A whole number in [0, bound)."""
        return seed_of(self._seed, name) * bound >> BITS

    def between(self, name: object, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * seed_of(self._seed, name) / (1 << BITS)

    def one_of(self, name: object, choices: Sequence[Item]) -> Item:
        """One of these items."""
        return choices[self.below(name, len(choices))]

    def bits(self, name: object, count: int) -> int:
        """A whole number of at most ``count`` bits."""
        value = seed_of(self._seed, name)
        for part in range(1, -(-count // BITS)):
            value = value << BITS | seed_of(self._seed, name, part)
        return value & ((1 << count) - 1)

    def hex(self, name: object, digits: int) -> str:
        """So many hexadecimal digits, in lower case."""
        return f"{self.bits(name, 4 * digits):0{digits}x}"
