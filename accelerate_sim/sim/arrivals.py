"""How many of the things that come one by one, each for itself, come in a while: Poisson counts from uniform draws."""

import math

NORMAL_FROM = 500.0
"""Means from which a bell is as good, and the terms of the distribution underflow."""
LOGISTIC_SCALE = 1.702
"""A logistic curve this much steeper is a normal one, to within a hundredth."""


def poisson_count(draw: float, mean: float) -> int:
    """Number of events where ``mean`` are expected, by inverting the distribution at this share, in (0, 1)."""
    if mean > NORMAL_FROM:
        return max(0, round(mean + math.sqrt(mean) * math.log(draw / (1.0 - draw)) / LOGISTIC_SCALE))
    count, term = 0, math.exp(-mean)
    total = term
    # Where the sum cannot grow any more it is as near to 1 as it gets.
    while total < draw and term > 0.0:
        count += 1
        term *= mean / count
        total += term
    return count
