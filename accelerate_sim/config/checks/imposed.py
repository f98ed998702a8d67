"""Checks of imposed figures."""

from collections.abc import Iterator

from accelerate_sim.config.checks.facts import Facts
from accelerate_sim.config.problems import Problem, shown

IMPOSED_BOUNDS = {
    "step_time_s": (1e-4, 86_400),
    "memory_share": (0.01, 1),
    "utilization_pct": (1, 100),
    "temperature_c": (1, 120),
    "first_loss": (0.1, 100),
    "last_loss": (0.01, 100),
}
"""Lowest and highest value of each range."""


def imposed_ranges(facts: Facts) -> Iterator[Problem]:
    """Each range goes up and lies within its bounds."""
    impose = facts.config.impose
    for name, (least, most) in IMPOSED_BOUNDS.items():
        pair = getattr(impose, name)
        if pair is None:
            continue
        low, high = pair
        key = f"impose.{name}"
        if low > high:
            swapped = shown([high, low])
            yield Problem.about(key, shown([low, high]), "has its low end above its high end", f"Write {swapped}.")
        elif low < least or high > most:
            yield Problem.about(
                key, shown([low, high]), f"is not between {least:g} and {most:,}", "Use a range inside that."
            )
    if impose.first_loss and impose.last_loss[1] > impose.first_loss[0]:
        keys = ("impose.last_loss", "impose.first_loss")
        reason = f"reaches above first_loss = {shown(list(impose.first_loss))}"
        value = shown(list(impose.last_loss))
        yield Problem.about(keys[0], value, reason, "Use a lower range: losses fall.", keys[1:])
