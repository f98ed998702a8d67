"""A virtual world, or a place without a launcher, per test; ended whatever happens."""

import sys
from collections.abc import Callable, Iterator

import pytest

import fake_torch_dist as dist
from tests.support.meeting import VARIABLES


@pytest.fixture
def virtual() -> Iterator[Callable[..., None]]:
    """``virtual(size, ranks_per_node=None)`` starts the world."""

    def start(size: int, ranks_per_node: int | None = None) -> None:
        options = dist.VirtualOptions(ranks_per_node=ranks_per_node)
        dist.init_process_group("virtual", world_size=size, pg_options=options)

    yield start
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No launcher, and no server left of an earlier test."""
    ours = ("FAKE_TORCH_DIST_TOKEN", "FAKE_TORCH_DIST_STORE")
    for name in (*VARIABLES, "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT", *ours):
        monkeypatch.delenv(name, raising=False)
    yield
    # The package's attribute of that name is torch's function.
    hosted = sys.modules["fake_torch_dist.meeting.address"].hosted
    for store in hosted.values():
        store.close()
    hosted.clear()
