"""The simulated clock against a real one that the test turns."""

import math
from datetime import datetime

import pytest

from accelerate_sim.process.clock import LATE_S, Clock

START = datetime(2026, 1, 1)


class RealTime:
    """Real seconds, and a sleep that lets them pass at once."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def real() -> RealTime:
    return RealTime()


def clock_of(real: RealTime, speed: float) -> Clock:
    return Clock(START, speed, wait=real.sleep, monotonic=real.monotonic)


def test_speed_is_simulated_seconds_per_real_second(real: RealTime):
    clock = clock_of(real, 250.0)
    clock.advance(500.0)
    assert real.slept == [2.0]
    assert clock.now_s == 500.0
    assert clock.time() == datetime(2026, 1, 1, 0, 8, 20)


def test_work_between_two_waits_shortens_the_second(real: RealTime):
    clock = clock_of(real, 10.0)
    clock.advance(10.0)
    real.now_s += 0.25
    clock.advance(10.0)
    assert real.slept == [1.0, 0.75]


def test_many_small_steps_take_as_long_as_a_large_one(real: RealTime):
    clock = clock_of(real, 3.0)
    for _ in range(1000):
        clock.advance(0.1)
        real.now_s += 0.001
    assert real.now_s - 1000.0 == pytest.approx(100.0 / 3.0, abs=0.01)


def test_at_full_speed_nothing_sleeps_but_signals_are_heard(real: RealTime):
    clock = clock_of(real, math.inf)
    clock.advance(1e9)
    assert real.slept == [0.0]
    assert clock.now_s == 1e9


def test_a_second_that_has_passed_changes_nothing(real: RealTime):
    clock = clock_of(real, 100.0)
    clock.advance_to(50.0)
    clock.advance_to(20.0)
    assert clock.now_s == 50.0
    assert real.slept == [0.5, 0.0]


def test_what_is_shown_during_a_wait_is_not_from_the_future(real: RealTime):
    seen: list[float] = []
    clock = Clock(START, 1.0, wait=lambda seconds: seen.append(clock.read()), monotonic=real.monotonic)
    clock.advance(30.0)
    assert (seen, clock.read()) == ([0.0], 30.0)


def test_a_run_that_ends_during_a_wait_keeps_its_time(real: RealTime):
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    clock = Clock(START, 1.0, wait=stop, monotonic=real.monotonic)
    with pytest.raises(KeyboardInterrupt):
        clock.advance(30.0)
    assert clock.now_s == 0.0


def test_a_little_delay_is_made_up(real: RealTime):
    clock = clock_of(real, 1.0)
    clock.advance(1.0)
    real.now_s += 1.0 + 0.9 * LATE_S
    clock.advance(1.0)
    clock.advance(1.0)
    assert real.slept == pytest.approx([1.0, 0.0, 1.0 - 0.9 * LATE_S])


def test_a_long_delay_is_not_made_up(real: RealTime):
    """A terminal that took nothing for a minute gets no burst of a minute's steps."""
    clock = clock_of(real, 1.0)
    real.now_s += 60.0
    for _ in range(3):
        clock.advance(1.0)
    assert real.slept == [0.0, 1.0, 1.0]


def test_another_speed_holds_from_now_on(real: RealTime):
    clock = clock_of(real, 1.0)
    clock.advance(10.0)
    clock.set_speed(100.0)
    clock.advance(10.0)
    clock.set_speed(math.inf)
    clock.advance(10.0)
    clock.set_speed(2.0)
    clock.advance(10.0)
    assert real.slept == [10.0, pytest.approx(0.1), 0.0, 5.0]
    assert clock.now_s == 40.0


def test_listeners_are_told_of_a_second_before_it_comes():
    clock = Clock(datetime(2026, 1, 1), wait=lambda seconds: None)
    told: list[tuple[float, float]] = []
    clock.add_listener(lambda second: told.append((second, clock.now_s)))
    clock.advance_to(5.0)
    clock.advance(2.0)
    assert told == [(5.0, 0.0), (7.0, 5.0)]
