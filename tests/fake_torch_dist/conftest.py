"""A virtual world per test, ended whatever happens."""

from collections.abc import Callable, Iterator

import pytest

import fake_torch_dist as dist


@pytest.fixture
def virtual() -> Iterator[Callable[..., None]]:
    """``virtual(size, ranks_per_node=None)`` starts the world."""

    def start(size: int, ranks_per_node: int | None = None) -> None:
        options = dist.VirtualOptions(ranks_per_node=ranks_per_node)
        dist.init_process_group("virtual", world_size=size, pg_options=options)

    yield start
    if dist.is_initialized():
        dist.destroy_process_group()
