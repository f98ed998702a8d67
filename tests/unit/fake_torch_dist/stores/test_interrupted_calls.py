"""Calls of a TCPStore that a signal handler interrupts, or that it makes itself."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from fake_torch_dist.stores import TCPStore

SECOND = timedelta(seconds=1)


class Interrupted(Exception):
    """Exception that the alarm raises."""


def interrupt(*_: object) -> None:
    """A signal handler, as Ctrl-C has one."""
    raise Interrupted


def test_an_interrupted_wait_leaves_the_connection_usable():
    store = TCPStore("127.0.0.1", 0, 1, True)
    other = store.clone()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for key in ("a", "b"):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Interrupted):
                store.get(key)
    finally:
        signal.signal(signal.SIGALRM, before)
    other.set("b", "2")
    other.set("a", "late")
    assert (store.add("n", 1), store.get("b"), store.get("a")) == (1, b"2", b"late")


def test_a_signal_handler_uses_the_store_in_whose_call_it_comes():
    store = TCPStore("127.0.0.1", 0, 1, True)

    def handler(*_: object) -> None:
        if store._mutex.is_mine():
            store.set("a", "by the handler")
        else:
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert store.get("a") == b"by the handler"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert store.get("a") == b"by the handler"


def test_a_signal_handler_looks_up_a_rank_while_another_is_looked_up():
    store = TCPStore("127.0.0.1", 0, 1, True)
    store.gather(b"ranks", 0, 1, b"value", b"host", SECOND)
    with store._mutex:  # held by a call of this thread, as a handler finds it
        assert store.gathered(b"ranks", 0, [0], SECOND) == [b"value"]
