"""The lines of a rank whose data loader loses a worker, as torch 2.13 prints them.

torch reports a worker that was killed twice: in a signal handler inside the line that waits for data, then in the
loader itself.
"""

from __future__ import annotations

import signal
from typing import Final

from accelerate_sim.faults.words.line import STDERR, TimedLine, block, prefixed
from accelerate_sim.faults.words.python_traceback import (
    CAUSED,
    SITE_PACKAGES,
    TracebackFrame,
    rank_prefix,
    traceback_text,
)

DATA: Final = f"{SITE_PACKAGES}/torch/utils/data"
LIBRARY: Final = "/usr/lib/python3.12"
SCRIPT: Final = (
    TracebackFrame("/workspace/train.py", 118, "<module>", "main()"),
    TracebackFrame("/workspace/train.py", 81, "main", "for batch in train_loader:"),
    TracebackFrame(
        f"{SITE_PACKAGES}/accelerate/data_loader.py", 579, "__iter__", "current_batch = next(dataloader_iter)"
    ),
    TracebackFrame(f"{DATA}/dataloader.py", 725, "__next__", "data = self._next_data()"),
)
WAITING: Final = (
    TracebackFrame(f"{DATA}/dataloader.py", 1291, "_try_get_data", "data = self._data_queue.get(timeout=timeout)"),
    TracebackFrame(f"{LIBRARY}/multiprocessing/queues.py", 113, "get", "if not self._poll(timeout):"),
    TracebackFrame(f"{LIBRARY}/multiprocessing/connection.py", 257, "poll", "return self._poll(timeout)"),
    TracebackFrame(f"{LIBRARY}/multiprocessing/connection.py", 440, "_poll", "r = wait([self], timeout)"),
    TracebackFrame(f"{LIBRARY}/multiprocessing/connection.py", 947, "wait", "ready = selector.select(timeout)"),
    TracebackFrame(f"{LIBRARY}/selectors.py", 415, "select", "fd_event_list = self._selector.poll(timeout)"),
    TracebackFrame(f"{DATA}/_utils/signal_handling.py", 73, "handler", "_error_if_any_worker_fails()"),
)
GETTING: Final = (
    TracebackFrame(f"{DATA}/dataloader.py", 1505, "_next_data", "idx, data = self._get_data()"),
    TracebackFrame(f"{DATA}/dataloader.py", 1464, "_get_data", "success, data = self._try_get_data()"),
    TracebackFrame(f"{DATA}/dataloader.py", 1304, "_try_get_data", "raise RuntimeError("),
)

WORDS: Final = {
    signal.SIGKILL: "Killed",
    signal.SIGTERM: "Terminated",
    signal.SIGABRT: "Aborted",
    signal.SIGSEGV: "Segmentation fault",
    signal.SIGBUS: "Bus error",
}
SHARED_MEMORY: Final = (
    "It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit."
)
WORKER_ERRORS: Final = {
    signal.SIGBUS: (
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm)."
    ),
    signal.SIGSEGV: "ERROR: Unexpected segmentation fault encountered in worker.",
}
"""The line that a worker itself prints, by the signal that ends it; none for others."""


def killed(pid: int, number: int) -> str:
    """The exception about a worker that a signal ended. There is a blank after the full stop."""
    hint = SHARED_MEMORY if number == signal.SIGBUS else ""
    return f"RuntimeError: DataLoader worker (pid {pid}) is killed by signal: {WORDS[signal.Signals(number)]}. {hint}"


def exited(pid: int, code: int) -> str:
    """The exception about a worker that ended with an exit code."""
    return (
        f"RuntimeError: DataLoader worker (pid {pid}) exited unexpectedly with exit code {code}. Details are "
        "lost due to "
        "multiprocessing. Rerunning with num_workers=0 may give better error trace."
    )


def lost_worker(rank: int, pid: int, error: str, *, number: int = 0) -> list[TimedLine]:
    """The lines of a rank whose worker ``pid`` has died; ``error`` comes from ``killed`` or ``exited``.

    ``number`` is the signal that ended it. The exit code of the rank is 1.
    """
    handler = traceback_text(error, WAITING)
    loader = traceback_text(f"RuntimeError: DataLoader worker (pid(s) {pid}) exited unexpectedly", (*SCRIPT, *GETTING))
    worker = WORKER_ERRORS.get(signal.Signals(number)) if number else None
    said = [TimedLine(0.0, STDERR, worker)] if worker else []
    return said + prefixed(block(0.05, STDERR, f"{handler}\n{CAUSED}\n{loader}"), rank_prefix(rank))


def raised_in_worker(rank: int, worker: int, name: str, message: str, frame: TracebackFrame) -> list[TimedLine]:
    """The lines of a rank whose worker raised an exception of class ``name`` in ``frame``, a line of the dataset."""
    original = (
        TracebackFrame(
            f"{DATA}/_utils/worker.py",
            374,
            "_worker_loop",
            "data = fetcher.fetch(index)  # type: ignore[possibly-undefined]",
        ),
        TracebackFrame(
            f"{DATA}/_utils/fetch.py", 54, "fetch", "data = [self.dataset[idx] for idx in possibly_batched_index]"
        ),
        frame,
    )
    inner = traceback_text(f"{name}: {message}\n", original).removeprefix("Traceback (most recent call last):\n")
    error = (
        f"{name}: Caught {name} in DataLoader worker process {worker}.\nOriginal Traceback (most recent call last):\n"
    )
    frames = (
        *SCRIPT,
        TracebackFrame(f"{DATA}/dataloader.py", 1529, "_next_data", "return self._process_data(data, worker_id)"),
        TracebackFrame(f"{DATA}/dataloader.py", 1567, "_process_data", "data.reraise()"),
        TracebackFrame(f"{SITE_PACKAGES}/torch/_utils.py", 794, "reraise", "raise exception"),
    )
    return prefixed(block(0.0, STDERR, traceback_text(error + inner, frames)), rank_prefix(rank))


def timed_out(rank: int, timeout_s: int) -> list[TimedLine]:
    """The lines of a rank whose worker does not answer within the loader's timeout; without one it hangs silently."""
    frames = (
        *SCRIPT,
        TracebackFrame(f"{DATA}/dataloader.py", 1505, "_next_data", "idx, data = self._get_data()"),
        TracebackFrame(f"{DATA}/dataloader.py", 1449, "_get_data", "raise RuntimeError("),
    )
    error = f"RuntimeError: DataLoader timed out after {timeout_s} seconds"
    return prefixed(block(float(timeout_s), STDERR, traceback_text(error, frames)), rank_prefix(rank))


def too_many_files() -> str:
    """The exception of a rank whose workers have used up the file descriptors."""
    return "OSError: [Errno 24] Too many open files"
