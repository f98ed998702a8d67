"""Signals to this very process, and waiting for them."""

import concurrent.futures
import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from accelerate_sim.process.signals import ENDING, PAUSING, REDRAWING, Signals, Stopped
from fake_torch_dist.default_sigint import DefaultSigint

SOON_S = 5.0


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Entered, and past its first wait."""
    with Signals() as entered:
        entered.wait(0.0)
        yield entered


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_ending_signal_stops_at_the_next_safe_point(signals: Signals, number: int, code: int):
    signal.raise_signal(number)
    with pytest.raises(Stopped) as stopped:
        signals.wait(0.0)
    assert stopped.value.exit_code == code


def test_a_wait_ends_when_a_signal_arrives(signals: Signals):
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    begin = time.monotonic()
    with pytest.raises(Stopped, match="terminated"):
        signals.wait(60.0)
    assert time.monotonic() - begin < SOON_S


def test_a_signal_just_before_a_wait_is_not_slept_over(signals: Signals):
    signals.listeners.add(before_waiting=lambda seconds: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Stopped, match="interrupted"):
        signals.wait(60.0)


def test_stopped_is_no_error_that_a_script_survives():
    assert not issubclass(Stopped, Exception)


def test_before_the_first_wait_nobody_waits_for_a_safe_point():
    with Signals(), pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)


def test_an_import_that_loses_the_exception_does_not_lose_the_signal():
    with Signals() as signals:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped, match="terminated"):
            signals.wait(0.0)


def test_ctrl_c_can_be_deadly_for_a_while():
    before = signal.getsignal(signal.SIGINT)
    with DefaultSigint():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_stays_deadly_until_the_next_block_ends():
    before = signal.getsignal(signal.SIGINT)
    with DefaultSigint(until_next=True):
        pass
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    with DefaultSigint():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_stays_deadly_for_good():
    before = signal.getsignal(signal.SIGINT)
    try:
        with DefaultSigint(for_good=True):
            pass
        with DefaultSigint():
            pass
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_signals_alone():
    def use() -> None:
        with DefaultSigint():
            assert signal.getsignal(signal.SIGINT) is before

    before = signal.getsignal(signal.SIGINT)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(use).result()


def test_a_handler_of_somebody_elses_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with DefaultSigint():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_does_not_wait_either(signals: Signals):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_after_a_signal_has_been_taken_does_not_wait_either(signals: Signals):
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped):
        signals.poll()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_resize_redraws_and_the_wait_goes_on(signals: Signals):
    drawn: list[str] = []
    signals.listeners.add(on_redraw=lambda: drawn.append("redraw"))
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGWINCH)).start()
    begin = time.monotonic()
    signals.wait(0.2)
    assert drawn == ["redraw"]
    assert time.monotonic() - begin >= 0.2


def test_an_end_comes_before_a_redraw(signals: Signals):
    signals.listeners.add(on_redraw=lambda: pytest.fail("drawn though the run ends"))
    signal.raise_signal(signal.SIGWINCH)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(Stopped):
        signals.poll()


def test_the_session_ends_at_its_deadline():
    now_s = 100.0
    signals = Signals(monotonic=lambda: now_s)
    signals.deadline = 110.0
    signals.wait(0.0)
    now_s = 110.0
    with pytest.raises(Stopped) as stopped:
        signals.wait(0.0)
    assert (stopped.value.reason, stopped.value.exit_code) == ("time is up", 0)


def test_a_wait_does_not_go_beyond_the_deadline():
    with Signals() as signals:
        signals.deadline = time.monotonic() + 0.05
        begin = time.monotonic()
        with pytest.raises(Stopped, match="time is up"):
            signals.wait(60.0)
        assert time.monotonic() - begin < SOON_S


def test_before_a_wait_it_is_said_how_long_it_is(signals: Signals):
    told: list[float] = []
    signals.listeners.add(before_waiting=told.append)
    signals.wait(0.01)
    signals.wait(0.0)
    assert told == [0.01, 0.0]


def test_signals_are_given_back():
    numbers = (*ENDING, *REDRAWING, *PAUSING)
    before = [signal.getsignal(number) for number in numbers]
    with Signals():
        assert all(signal.getsignal(number) not in before for number in numbers)
    assert [signal.getsignal(number) for number in numbers] == before


def test_after_an_end_another_ctrl_c_is_quiet():
    """Python would show a traceback for one that comes while it takes itself apart."""
    before = [signal.getsignal(number) for number in ENDING]
    try:
        with Signals() as signals, pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
            signals.poll()
        assert [signal.getsignal(number) for number in ENDING] == [signal.SIG_DFL] * len(ENDING)
    finally:
        for number, handler in zip(ENDING, before, strict=True):
            signal.signal(number, handler)


def test_ignored_signals_stay_ignored():
    """``nohup`` ignores SIGHUP for its command."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGHUP)
            signals.wait(0.01)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_is_ignored_for_good_stays_so() -> None:
    """A rank that is about to raise writes its traceback although its launcher ends all ranks."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with Signals():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_never_polls_can_be_interrupted_at_once(signals: Signals):
    with pytest.raises(Stopped, match="terminated"), signals.at_once():
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_from_before_is_not_waited_over(signals: Signals):
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped), signals.at_once():
        pytest.fail("it would wait now")


def test_afterwards_signals_are_taken_at_safe_points_again(signals: Signals):
    with signals.at_once():
        pass
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped):
        signals.poll()


def test_listeners_are_called_in_the_order_in_which_they_came(signals: Signals):
    calls: list[str] = []
    for name in ("first", "second"):
        signals.listeners.add(
            before_waiting=lambda seconds, name=name: calls.append(f"{name} waits"),
            on_pause=lambda name=name: calls.append(f"{name} pauses"),
            on_redraw=lambda name=name: calls.append(f"{name} draws"),
        )
    signals.wait(0.0)
    signals.listeners.tell_pause()
    signals.listeners.tell_redraw()
    assert calls == [f"{name} {what}" for what in ("waits", "pauses", "draws") for name in ("first", "second")]


def test_another_thread_takes_no_signals():
    """As of Ray Train, of Dask, or of a notebook's server."""

    def play() -> int:
        with Signals() as entered:
            entered.wait(0.001)
            return 1

    before = signal.getsignal(signal.SIGTERM)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(play).result(SOON_S) == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_wait_for_a_descriptor_serves_others_before_and_after_handlers_are_installed() -> None:
    signals = Signals()

    def served_in_wait() -> tuple[int, bytes]:
        (wanted, give), (asked, ask) = os.pipe(), os.pipe()
        try:
            served: list[bytes] = []

            def answer() -> None:
                served.append(os.read(asked, 8))
                os.write(give, b"y")

            signals.serve(asked, select.POLLIN, answer)
            os.write(ask, b"request")
            signals.wait_for(wanted, 30.0)  # ends when the request has been served
            signals.wait_for(wanted, 30.0)
            signals.dismiss(asked)
            return len(served), os.read(wanted, 8)
        finally:
            for fd in (wanted, give, asked, ask):
                os.close(fd)

    assert served_in_wait() == (1, b"y")
    with signals:
        assert served_in_wait() == (1, b"y")
    assert served_in_wait() == (1, b"y")
