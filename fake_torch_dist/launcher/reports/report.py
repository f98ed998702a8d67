"""The final report of the launcher: torchrun's ChildFailedError and SignalException, in its layout (2.13.0)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from fake_torch_dist.launcher.commandline.config import EntryKind
from fake_torch_dist.launcher.failures import NOT_AVAILABLE, ProcessFailure, root_cause
from fake_torch_dist.launcher.reports.stack_frames import OF_A_SIGNAL, OF_FAILED_RANKS, traceback_text
from fake_torch_dist.terminal.descriptor import printable

WIDEST_RULE: Final = 60
_CHILD_FAILED: Final = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError"
_SIGNALLED: Final = "torch.distributed.elastic.multiprocessing.api.SignalException"


def without_files(failures: Iterable[ProcessFailure]) -> list[ProcessFailure]:
    """Return the failures without error files, for a report that outlives these."""
    return [replace(failure, error_file=NOT_AVAILABLE) for failure in failures]


def report(name: str, failures: Sequence[ProcessFailure], reason: str = "") -> str:
    """Return the report from its first rule to its last, without a final newline; entries are numbered as given.

    ``reason`` takes the place of the root cause if the ranks failed because they were told to stop.
    """
    root: ProcessFailure | None = root_cause(failures)
    if reason and root and root.told_to_stop:
        root = None
    title = f"{printable(name)} FAILED"
    entries = [_entry(number, failure) for number, failure in enumerate(failures)]
    lines = (line for text in (title, *entries) for line in text.split("\n"))
    width = min(max(map(len, lines)), WIDEST_RULE)
    others = [entry for entry, failure in zip(entries, failures, strict=True) if failure is not root]
    rule, section = "=" * width, "-" * width
    return "\n".join((
        rule, title, section,
        "Failures:", *(others or ["  <NO_OTHER_FAILURES>"]), section,
        "Root Cause (first observed failure):", entries[_index(failures, root)] if root else _elsewhere(reason), rule,
    ))  # fmt: skip


def _index(failures: Sequence[ProcessFailure], wanted: ProcessFailure) -> int:
    return next(number for number, failure in enumerate(failures) if failure is wanted)


def _elsewhere(reason: str) -> str:
    return f"  <NOT_HERE>: {printable(reason)}"


def _entry(number: int, failure: ProcessFailure) -> str:
    moment = datetime.fromtimestamp(int(failure.timestamp_s)).isoformat(sep="_")
    name = f" ({failure.signal_name})" if failure.signal_name else ""
    return (
        f"[{number}]:\n"
        f"  time      : {moment}\n"
        f"  host      : {failure.node}\n"
        f"  rank      : {failure.rank} (local_rank: {failure.local_rank})\n"
        f"  exitcode  : {failure.exitcode} (pid: {failure.pid}) {name}\n"
        f"  error_file: {printable(failure.error_file)}\n"
        f"  traceback : {failure.message}"
    )


def child_failed_text(name: str, failures: Sequence[ProcessFailure], reason: str = "") -> str:
    """Return the text that the launcher prints last when ranks failed."""
    return f"{traceback_text(OF_FAILED_RANKS)}{_CHILD_FAILED}: \n{report(name, failures, reason)}\n"


def gone_for_good(hosts: Sequence[str]) -> str:
    """Return the reason why a job ends whose nodes do not come back."""
    return f"{', '.join(hosts)} is gone for good"


def too_few_nodes(lost: str, count: int, needed: int) -> str:
    """Return the reason why a job is not started again; ``lost`` is that of its end."""
    return f"{lost}; no restart with {count} of {needed} nodes (--nnodes)"


def error_text(reason: str) -> str:
    """Return the line that the launcher prints last with a reason that its report does not name."""
    return f"fake-torchrun: error: {reason}\n"


def signalled_text(pid: int, signum: int) -> str:
    """Return the text that the launcher, process ``pid``, prints last when it got a signal."""
    return f"{traceback_text(OF_A_SIGNAL)}{_SIGNALLED}: {got_signal(pid, signum)}\n"


def got_signal(pid: int, signum: int) -> str:
    """Return the sentence about a signal."""
    return f"Process {pid} got signal: {int(signum)}"


def entry_name(kind: EntryKind, entrypoint: str, python: str | None = None) -> str:
    """Return the name in the report's title: file, module, program, or the interpreter that PYTHON_EXEC names."""
    if kind is EntryKind.RUN_PATH:
        return "run_script_path"  # the function that torchrun runs
    return entrypoint if kind is EntryKind.PROGRAM or python is None else python
