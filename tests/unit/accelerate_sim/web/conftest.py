"""Ends the process group that a run leaves in this process when Ctrl-C, or the end of a picture, cuts it short."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_world_is_left() -> Iterator[None]:
    """Leave the world of a run after each test."""
    yield
    from accelerate_sim.session.coordination import leave_world

    leave_world()
