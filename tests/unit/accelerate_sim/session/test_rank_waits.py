"""A process that waits for other ranks knows the moment that the job has reached, and how late they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.session.rank_waits import RankWaits
from fake_torch_dist.transports import program_wait

FD = 5


class Waiting(Signals):
    """Signals that look, after so many real seconds of each wait, instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s, self.wait_s = 100.0, 0.0
        self.look: Callable[[], None] = lambda: None

    def wait_for(self, fd: int, seconds: float) -> None:
        assert fd == FD
        self.now_s += self.wait_s
        self.look()


@pytest.fixture
def signals() -> Waiting:
    return Waiting()


@pytest.fixture
def clock(signals: Waiting) -> Clock:
    return Clock(datetime(2026, 1, 1), speed=10.0, wait=lambda seconds: None, monotonic=lambda: signals.now_s)


@pytest.fixture(params=[True, False], ids=["follows", "main"])
def waits(request: pytest.FixtureRequest, signals: Waiting, clock: Clock) -> Iterator[RankWaits]:
    made = RankWaits(signals, clock, follows=request.param, monotonic=lambda: signals.now_s)
    yield made
    made.end()


def seen_in_wait(signals: Waiting, waits: RankWaits, wait_s: float) -> tuple[float, float]:
    """Second reached, and lateness, after so many real seconds of a wait for other ranks."""
    found: list[tuple[float, float]] = []
    signals.wait_s, signals.look = wait_s, lambda: found.append((waits.reached_s, waits.late_s))
    assert program_wait.wait_for(FD, 60.0)
    return found[0]


@pytest.mark.parametrize("waits", [True], indirect=True)
@pytest.mark.parametrize(("wait_s", "reached_s"), [(0.0, 40.0), (1.0, 50.0), (2.5, 65.0), (9.0, 70.0)])
def test_a_follower_computes_where_rank_0_is(signals, clock, waits, wait_s, reached_s):
    clock.advance(40.0)
    seen_in_wait(signals, waits, 4.0)
    clock.advance(10.0)
    clock.advance(20.0)
    assert seen_in_wait(signals, waits, wait_s)[0] == reached_s
    assert clock.now_s == 70.0


@pytest.mark.parametrize("waits", [False], indirect=True)
def test_the_clock_of_rank_0_says_where_it_is(signals, clock, waits):
    clock.advance(40.0)
    assert seen_in_wait(signals, waits, 1.0)[0] == 40.0


@pytest.mark.parametrize("waits", [True], indirect=True)
def test_at_the_highest_speed_a_follower_is_where_its_last_wait_ended(signals, clock, waits):
    clock.set_speed(math.inf)
    clock.advance(40.0)
    seen_in_wait(signals, waits, 0.1)
    clock.advance(5.0)
    assert seen_in_wait(signals, waits, 20.0)[0] == 40.0


@pytest.mark.parametrize("waits", [True], indirect=True)
def test_a_jump_of_the_clock_is_no_time_that_passes(signals, clock, waits):
    clock.jump_to(5000.0)
    clock.advance(10.0)
    assert seen_in_wait(signals, waits, 0.5)[0] == 4995.0 + 10.0


def test_several_polls_make_one_wait(signals, clock, waits):
    clock.advance(10.0)
    seen_in_wait(signals, waits, 8.0)
    assert seen_in_wait(signals, waits, 8.0)[1] in (16.0, 14.0)  # rank 0 takes 1 s for the 10, and is given 2


def test_nobody_is_late_once_the_job_goes_on(signals, clock, waits):
    clock.advance(10.0)
    seen_in_wait(signals, waits, 30.0)
    assert waits.late_s == 0.0
    clock.advance(10.0)
    assert seen_in_wait(signals, waits, 0.5)[1] <= 0.5


def test_a_wait_that_is_ended_serves_no_longer(signals, waits):
    waits.end()
    assert not program_wait.wait_for(FD, 1.0)


@pytest.mark.parametrize("waits", [True], indirect=True)
def test_a_start_up_at_a_speed_of_its_own_is_waited_for(signals, clock, waits):
    clock.set_speed(2.0)
    clock.advance(40.0)
    clock.set_speed(1000.0)
    clock.advance(10.0)
    assert seen_in_wait(signals, waits, 10.0)[0] == pytest.approx(25.0, abs=0.1)
    assert seen_in_wait(signals, waits, 20.0) == (50.0, 0.0)
