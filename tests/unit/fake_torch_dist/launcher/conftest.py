"""Jobs for the launcher's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.launched import Jobs, jobs_in

WARM = {
    "test_endings", "test_full_disks", "test_growing_jobs", "test_hosts_and_jails", "test_left_behind",
    "test_merged_output", "test_pods", "test_readers_that_go", "test_several_hosts", "test_several_hosts_ending",
    "test_signals", "test_standard_streams", "test_start",
}  # fmt: skip
"""Files of many jobs, whose launchers are forks. In the others each is a new interpreter, as a user's is.

A launcher that is a fork does not inherit the signals that the test process ignores or blocks.
"""

pytest.register_assert_rewrite("as_python")


@pytest.fixture
def jobs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path, new_python=request.path.stem not in WARM)


@pytest.fixture
def new_jobs(tmp_path: Path) -> Iterator[Jobs]:
    """Jobs whose launchers are new interpreters, which inherit the test process's signals."""
    yield from jobs_in(tmp_path, new_python=True)


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    return free_port()
