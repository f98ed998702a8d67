"""Jobs for the launcher's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.launched import Jobs, jobs_in

pytest.register_assert_rewrite("as_python")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path)
