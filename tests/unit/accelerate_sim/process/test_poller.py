"""Descriptors that are served and alarms that are due while a process waits."""

import os
import select
from collections.abc import Iterator

import pytest

from accelerate_sim.process.signals import Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as entered:
        yield entered


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe with a byte to read."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def test_a_reader_that_leaves_ends_a_wait(signals: Signals):
    read_end, write_end = os.pipe()

    def hang_up() -> None:
        raise BrokenPipeError

    signals.watch(write_end, hang_up)
    signals.wait(0.01)
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        signals.wait(60.0)
    os.close(write_end)


def test_a_ready_descriptor_is_served_and_can_end_the_wait(signals: Signals, pipe: tuple[int, int]):
    read: list[bytes] = []

    def take() -> None:
        read.append(os.read(pipe[0], 16))
        signals.cut()

    signals.serve(pipe[0], select.POLLIN, take)
    signals.wait(60.0)
    assert read == [b"x"]


def test_a_dismissed_descriptor_is_not_served(signals: Signals, pipe: tuple[int, int]):
    signals.serve(pipe[0], select.POLLIN, lambda: pytest.fail("it is not served any more"))
    signals.dismiss(pipe[0])
    signals.wait(0.01)


def test_an_alarm_is_called_once(signals: Signals):
    calls: list[str] = []
    signals.call_in(0.0, lambda: calls.append("called"))
    signals.wait(0.01)
    signals.wait(0.01)
    assert calls == ["called"]


def test_a_later_alarm_of_one_function_replaces_the_earlier(signals: Signals):
    calls: list[str] = []

    def alarm() -> None:
        calls.append("called")
        signals.cut()

    signals.call_in(0.0, alarm)
    signals.call_at(None, alarm)
    signals.wait(0.01)
    assert not calls
    signals.call_in(3600.0, alarm)
    signals.call_in(0.0, alarm)
    signals.wait(60.0)
    signals.wait(0.01)
    assert calls == ["called"]
