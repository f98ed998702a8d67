"""Poisson counts, by inverting the distribution at a uniform draw."""

import math

NORMAL_FROM = 500.0
"""Mean from which a normal approximation is used, since the terms of the distribution underflow."""
LOGISTIC_SCALE = 1.702
"""Scale at which a logistic distribution function is a normal one to within 0.01."""


def poisson_count(draw: float, mean: float) -> int:
    """Number of events where ``mean`` are expected: the Poisson quantile at ``draw``, in (0, 1)."""
    if mean > NORMAL_FROM:
        return max(0, round(mean + math.sqrt(mean) * math.log(draw / (1.0 - draw)) / LOGISTIC_SCALE))
    count, term = 0, math.exp(-mean)
    total = term
    # A sum that does not grow any more is as near to 1 as rounding allows.
    while total < draw and term > 0.0:
        count += 1
        term *= mean / count
        total += term
    return count
