"""Failed ranks: reads their error files, and finds the failure that is the root cause.

What this module does not do: notice the end of processes (the agent does) or print (``report`` does). Two things differ
from torchrun. Times keep their fractions, so that of several failures within one second the first one is the root
cause. An error file that cannot be read costs a line of the log; torchrun ends with a traceback.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

NOT_AVAILABLE: Final = "<N/A>"
BLAME_HANDICAP_S: Final = 2.0
"""Seconds that are added to the time of a failure that reports a lost peer, when failures are ordered. Such a
failure may be seen first: connections close before the process that had them has ended."""

_UNREADABLE: Final = (
    OSError, ValueError, OverflowError, LookupError, TypeError, AttributeError, RecursionError,
)  # fmt: skip
"""Exceptions of reading a file that is absent, no JSON, or JSON of another structure than torch's."""
_NO_TRACEBACK: Final = "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"
_BLAMES_PEER: Final = re.compile("connection (closed|reset) by peer", re.IGNORECASE)  # our PeerGoneError, and gloo


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessFailure:
    """One rank that ended otherwise than with exit code 0."""

    local_rank: int
    rank: int
    node: str
    """Name of its host."""
    pid: int
    exitcode: int
    """Exit code; a negative number is that of the signal that ended the rank."""
    timestamp_s: float
    """Time of the failure in seconds since the epoch: from its error file, else when its end was seen."""
    error_file: str = NOT_AVAILABLE
    message: str = ""
    """Text that the report shows after ``traceback :``."""
    told_to_stop: bool = False
    """The rank ended after the launcher had signalled it, and had recorded no error."""
    blames_peer: bool = False
    """The message reports that another rank is gone."""
    malformed: str = ""
    """Reason why its error file cannot be read; empty if it can, or there is none."""

    @classmethod
    def observed(
        cls,
        *,
        local_rank: int,
        rank: int,
        node: str,
        pid: int,
        exitcode: int,
        observed_s: float,
        error_file: str | Path | None,
        told_to_stop: bool = False,
    ) -> ProcessFailure:
        """Return the failure of a process whose end was seen at ``observed_s``; its error file is read, too."""
        bare = cls(
            local_rank=local_rank, rank=rank, node=node, pid=pid, exitcode=exitcode, timestamp_s=observed_s,
            message=_default_message(exitcode, pid), told_to_stop=told_to_stop,
        )  # fmt: skip
        if not error_file or not os.path.isfile(error_file):
            return bare
        try:
            recorded = _Recorded.read(str(error_file))
        except _UNREADABLE as error:
            return replace(bare, error_file=str(error_file), malformed=f"{type(error).__name__}: {error}")
        return replace(
            bare,
            timestamp_s=observed_s if recorded.timestamp_s is None else recorded.timestamp_s,
            error_file=str(error_file),
            message=bare.message if recorded.shown is None else recorded.shown,
            told_to_stop=False,
            blames_peer=bool(_BLAMES_PEER.search(recorded.message)),
        )

    @property
    def signal_name(self) -> str:
        """Name of the signal that ended it; empty if none did, or it has no name."""
        return _signal_name(self.exitcode)

    @property
    def sentence(self) -> str:
        """One line with rank, host and exit code, for commands that do not have the report."""
        where = f"rank {self.rank} (local_rank: {self.local_rank}, pid: {self.pid}) on {self.node}"
        return f"{where} failed (exitcode: {self.exitcode})"


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Contents of an error file. ``message`` is its sentence, ``shown`` the part that the report shows, if any."""

    message: str
    shown: str | None
    timestamp_s: float | None

    @classmethod
    def read(cls, path: str) -> _Recorded:
        """Read an error file. Raises any of ``_UNREADABLE``."""
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
            written_s = os.fstat(file.fileno()).st_mtime
        message = data["message"]
        if isinstance(message, str):
            # torch counts a missing time as 1970, which makes any such failure the root cause.
            stamp = data.get("timestamp")
            return cls(message, message or None, None if stamp is None else _finer(int(stamp), written_s))
        extra = message["extraInfo"]
        sentence = message.get("message", NOT_AVAILABLE)
        callstack = extra.get("py_callstack", sentence)
        return cls(str(sentence), callstack.replace("\n", "\n  "), _finer(int(extra["timestamp"]), written_s))


def _finer(stamp_s: int, written_s: float) -> float:
    """Return a time in whole seconds with the fraction of the file's own time, if the two are close.

    Raises ValueError, OverflowError or OSError if the time is out of range.
    """
    datetime.fromtimestamp(stamp_s)
    if not stamp_s - 1 < written_s < stamp_s + 2:
        return float(stamp_s)
    return min(max(written_s, stamp_s), stamp_s + 0.999999)


def _signal_name(exitcode: int) -> str:
    try:
        return signal.Signals(-exitcode).name if exitcode < 0 else ""
    except ValueError:  # a real-time signal
        return ""


def _default_message(exitcode: int, pid: int) -> str:
    """Return the message of a failure without an error file."""
    if exitcode >= 0:
        return _NO_TRACEBACK
    return f"Signal {-exitcode} ({_signal_name(exitcode) or NOT_AVAILABLE}) received by PID {pid}"


def root_cause(failures: Sequence[ProcessFailure]) -> ProcessFailure:
    """Return the failure that came first and may have caused the others. Raises ValueError if there is none.

    Ranks that the launcher stopped come last. Of those seen at the same moment, one that was killed comes first, since
    nothing kills a process because its peer raised; then the order given counts.
    """
    return min(failures, key=_order)


def _order(failure: ProcessFailure) -> tuple[bool, float, bool]:
    counted_s = failure.timestamp_s + (BLAME_HANDICAP_S if failure.blames_peer else 0.0)
    return failure.told_to_stop, counted_s, failure.exitcode >= 0
