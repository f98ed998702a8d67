"""A rank whose data loader loses a worker prints torch's two tracebacks."""

from __future__ import annotations

import signal

import pytest

from accelerate_sim.faults.words import data_loader
from accelerate_sim.faults.words.python_traceback import TracebackFrame


@pytest.mark.parametrize(
    "number, word, own",
    [(signal.SIGKILL, "Killed. ", 0), (signal.SIGTERM, "Terminated. ", 0), (signal.SIGSEGV, "Segmentation fault. ", 1)],
)
def test_a_killed_worker_is_reported_twice(number: int, word: str, own: int) -> None:
    texts = [line.text for line in data_loader.lost_worker(3, 4711, data_loader.killed(4711, number), number=number)]
    assert [text.startswith("ERROR: Unexpected ") for text in texts[:1]] == [bool(own)]
    assert f"[rank3]: RuntimeError: DataLoader worker (pid 4711) is killed by signal: {word}" in texts
    assert texts[-1] == "[rank3]: RuntimeError: DataLoader worker (pid(s) 4711) exited unexpectedly"
    assert sum("The above exception was the direct cause" in text for text in texts) == 1


def test_a_bus_error_hints_at_shared_memory() -> None:
    text = data_loader.killed(4711, signal.SIGBUS)
    assert "is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory." in text


def test_a_worker_that_raises_is_quoted() -> None:
    frame = TracebackFrame("/workspace/data.py", 12, "__getitem__", "raise ValueError(index)")
    texts = [line.text for line in data_loader.raised_in_worker(3, 1, "ValueError", "9", frame)]
    assert "[rank3]: ValueError: Caught ValueError in DataLoader worker process 1." in texts
    assert texts.index("[rank3]: Original Traceback (most recent call last):") < texts.index("[rank3]: ValueError: 9")
    assert texts[-1] == "[rank3]: "


def test_a_timeout_comes_after_its_time() -> None:
    lines = data_loader.timed_out(3, 30)
    assert lines[-1].after_s == 30.0
    assert lines[-1].text == "[rank3]: RuntimeError: DataLoader timed out after 30 seconds"
    assert data_loader.exited(1, 3).startswith(
        "RuntimeError: DataLoader worker (pid 1) exited unexpectedly with exit code 3."
    )
