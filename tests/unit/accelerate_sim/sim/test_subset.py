"""The subset of a dataset that one epoch reads."""

from __future__ import annotations

import pytest

from accelerate_sim import catalog
from accelerate_sim.sim.subset import short_count, subset_of


def test_an_epoch_is_a_pass_over_a_named_subset() -> None:
    """A subset has the size that is read; a dataset that has no more than that is read as a whole."""
    spec = catalog.dataset("alpaca")
    part = subset_of(spec, spec.tokens // 10)
    assert (part.name, part.tokens) == ("sample-580KT", spec.tokens // 10)
    assert part.samples == pytest.approx(spec.samples / 10, abs=1)
    for tokens in (spec.tokens, 7 * spec.tokens):
        assert subset_of(spec, tokens) == ("", spec.samples, spec.tokens)


@pytest.mark.parametrize(
    ("count", "text"), [(1_048_576_000, "1.05B"), (140_509_184, "141M"), (20_480, "20.5K"), (999, "999"), (10**9, "1B")]
)
def test_a_subset_is_named_by_its_tokens_in_short(count: int, text: str) -> None:
    assert short_count(count) == text
