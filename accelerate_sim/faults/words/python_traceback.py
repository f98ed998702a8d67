"""Tracebacks as Python 3.12 and torch print them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from accelerate_sim.faults.words.line import STDERR, TimedLine, block, prefixed

SITE_PACKAGES: Final = "/opt/venv/lib/python3.12/site-packages"
CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n"


class TracebackFrame(NamedTuple):
    """One call of a traceback."""

    file: str
    line: int
    function: str
    source: str


BACKWARD: Final = (
    TracebackFrame("/workspace/train.py", 118, "<module>", "main()"),
    TracebackFrame("/workspace/train.py", 84, "main", "accelerator.backward(loss)"),
    TracebackFrame(f"{SITE_PACKAGES}/accelerate/accelerator.py", 2852, "backward", "loss.backward(**kwargs)"),
    TracebackFrame(f"{SITE_PACKAGES}/torch/_tensor.py", 647, "backward", "torch.autograd.backward("),
    TracebackFrame(f"{SITE_PACKAGES}/torch/autograd/__init__.py", 354, "backward", "_engine_run_backward("),
    TracebackFrame(
        f"{SITE_PACKAGES}/torch/autograd/graph.py",
        829,
        "_engine_run_backward",
        "return Variable._execution_engine.run_backward(  # Calls into the C++ engine to run the backward pass",
    ),
)
"""The calls from a training script into the backward pass; line numbers are those of one release."""

ALL_REDUCE: Final = (
    *BACKWARD[:2],
    TracebackFrame(f"{SITE_PACKAGES}/torch/distributed/c10d_logger.py", 83, "wrapper", "return func(*args, **kwargs)"),
    TracebackFrame(
        f"{SITE_PACKAGES}/torch/distributed/distributed_c10d.py",
        3068,
        "all_reduce",
        "work = group.allreduce([tensor], opts)",
    ),
)
"""The calls from a training script into a collective."""


def traceback_text(error: str, frames: Iterable[TracebackFrame] = BACKWARD) -> str:
    """A traceback; ``error`` is its last line, or last lines, with the name of the exception's class."""
    text = "Traceback (most recent call last):\n"
    for frame in frames:
        text += f'  File "{frame.file}", line {frame.line}, in {frame.function}\n    {frame.source}\n'
    return text + error


def rank_prefix(rank: int) -> str:
    """The mark of each line of an uncaught exception in a process that has a process group."""
    return f"[rank{rank}]: "


def traceback_of_rank(
    rank: int, error: str, frames: Iterable[TracebackFrame] = BACKWARD, *, after_s: float = 0.0
) -> list[TimedLine]:
    """The lines that a rank prints when an exception ends it."""
    return prefixed(block(after_s, STDERR, traceback_text(error, frames)), rank_prefix(rank))
