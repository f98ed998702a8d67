"""A program's own wait takes the place of the poll for ranks, in its thread alone."""

from __future__ import annotations

import multiprocessing
import os
import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist.transports import program_wait


@pytest.fixture
def waits() -> Iterator[list[tuple[int, float]]]:
    found: list[tuple[int, float]] = []
    program_wait.wait_by(lambda fd, seconds: found.append((fd, seconds)))
    yield found
    program_wait.wait_by(None)


def test_it_is_called_with_the_descriptor_and_the_time(waits):
    assert program_wait.wait_for(7, 2.5)
    assert waits == [(7, 2.5)]


def test_another_thread_polls(waits):
    with ThreadPoolExecutor(1) as threads:
        assert not threads.submit(program_wait.wait_for, 7, 1.0).result()
    assert waits == []


def test_a_handler_that_comes_meanwhile_polls():
    inner = []
    program_wait.wait_by(lambda fd, seconds: inner.append(program_wait.wait_for(fd, seconds)))
    assert program_wait.wait_for(7, 1.0) and inner == [False]
    assert program_wait.wait_for(7, 1.0)
    program_wait.wait_by(None)


def test_an_exception_in_it_leaves_it_in_place(waits):
    def fail(fd: int, seconds: float) -> None:
        raise KeyboardInterrupt

    program_wait.wait_by(fail)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            program_wait.wait_for(7, 1.0)


def test_a_collective_waits_by_it(tmp_path):
    """Rank 1 comes to the collective only once rank 0 has waited in it, by its own wait."""
    context = multiprocessing.get_context("fork")
    met, let = os.pipe()

    def second() -> None:
        dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=1, world_size=2)
        os.read(met, 1)
        dist.all_reduce(np.array([2.0]))
        dist.destroy_process_group()

    child = context.Process(target=second)
    child.start()
    waited = []

    def wait(fd: int, seconds: float) -> None:
        if not waited:
            os.write(let, b"x")
        waited.append(fd)
        select.select([fd], [], [], seconds)

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=2)
    program_wait.wait_by(wait)
    try:
        total = np.array([1.0])
        dist.all_reduce(total)
        assert total[0] == 3.0 and waited
    finally:
        program_wait.wait_by(None)
        dist.destroy_process_group()
        child.join(60)
        os.close(met)
        os.close(let)
    assert child.exitcode == 0
