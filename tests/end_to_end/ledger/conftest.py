"""The runs whose numbers are checked against each other, for a reader with the files in one hand and a calculator in
the other: what can be computed from metrics.jsonl and again from what is printed agrees, at printed precision.
"""

from __future__ import annotations

import pytest

from tests.support.reading import Played

RUNS = ("llama", "small", "experts", "drawn")
CHATTY = ("small", "experts", "drawn")
"""Runs with a detail line for every step."""


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Played:
    """Dense, tiny, mixture of experts, and drawn at random."""
    played: Played = request.getfixturevalue(request.param)
    return played


@pytest.fixture(params=CHATTY)
def chatty(request: pytest.FixtureRequest) -> Played:
    """A run that says every step's figures."""
    played: Played = request.getfixturevalue(request.param)
    return played
