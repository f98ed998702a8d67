"""Log files of a run: torchrun's directory tree, and the files that each stream of each rank goes to.

One node writes to ``<log dir>/<run id>_<8 random>/attempt_<restart>/<local rank>/``, as with torchrun, the files
stdout.log, stderr.log and error.json; streams that are filtered go to ``attempt_<restart>/filtered_stdout.log`` and
``filtered_stderr.log`` as well. An emulated node has its own level above that,
``<log dir>/node3/<run id>_<8 random>/...``, like real nodes with ``torchrun --log-dir DIR/$(hostname)``. All emulated
nodes of a run have the same eight characters, so ``DIR/*/<run id>_<8 random>`` is the run. (Real nodes that share a log
directory get unrelated characters each, and no name shows which tree belongs to which job.)

Without a log directory torchrun makes /tmp/torchelastic_* and leaves it there. Here it stays only if streams were sent
to files. If it was made for error files only, which the report shows, it is removed at the end, and a job runs without
them if it cannot be made (a full disk).

What this module does not do: write streams. ``--log-dir /dev/null`` means no files at all, as with torchrun.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fake_torch_dist.launcher.commandline.config import Std, StreamSelection
from fake_torch_dist.launcher.protocol.agent_messages import Stream

_RANDOM_BYTES: Final = 5
"""Random bytes in the name of a new directory: eight characters."""
_BITS: Final[Mapping[Stream, Std]] = {"stdout": Std.OUT, "stderr": Std.ERR}


class LogDirectoryError(Exception):
    """The log directory can't be used; the text is for the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogTree:
    """The log files of one run."""

    base: Path
    kept: bool
    """The files outlive the run."""
    run_directories: Mapping[str | None, Path] = field(default_factory=dict)
    """Directories by emulated node, or by None for the one real node; empty if there are no files."""

    @classmethod
    def create(
        cls,
        log_dir: Path | None,
        run_id: str,
        *,
        nodes: Sequence[str] = (),
        files_wanted: bool = False,
        files_needed: bool = False,
    ) -> LogTree:
        """Make the run's directories. Raises LogDirectoryError.

        ``nodes`` are the emulated nodes, in order; none for one real node. ``files_wanted``: streams go to files.
        ``files_needed``: they go nowhere else; a teed stream goes to the console also where no file can be written.
        """
        if log_dir is not None and os.fspath(log_dir) == os.devnull:
            return cls(base=log_dir, kept=True)
        if log_dir is not None and log_dir.is_file():
            raise LogDirectoryError(f"NotADirectoryError: log_dir: {log_dir} is a file")
        base = log_dir
        try:
            base = log_dir.absolute() if log_dir else _temporary_directory()  # a script may change its directory
            directories = _run_directories(base, run_id, nodes)
        except OSError as error:
            if log_dir is None and not files_needed:
                shutil.rmtree(base or "", ignore_errors=True)
                return cls(base=Path(os.devnull), kept=True)
            raise _unusable(log_dir, error) from error
        return cls(base=base, kept=log_dir is not None or files_wanted, run_directories=directories)

    def run_directory(self, node: str | None = None) -> Path | None:
        """Return the directory of an emulated node, or of the one real node; None if there are no files."""
        return self.run_directories.get(node)

    def remove(self) -> None:
        """Remove the files at the end of the run, unless they are kept. May be called again."""
        if not self.kept:
            shutil.rmtree(self.base, ignore_errors=True)


def _unusable(path: Path | None, error: OSError) -> LogDirectoryError:
    return LogDirectoryError(
        f"{type(error).__name__}: log_dir: {error.filename or path} can't be made: {error.strerror}. "
        "Name a directory that can be written to with --log-dir, or none with --log-dir /dev/null"
    )


def _temporary_directory() -> Path:
    """Make a directory where ``tempfile`` would. That module itself would do work in every rank that is forked."""
    wanted = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    for directory in (*wanted, "/tmp", "/var/tmp", "/usr/tmp"):
        with suppress(OSError):
            return _new_directory(Path(directory).absolute(), "torchelastic_")
    return _new_directory(Path.cwd(), "torchelastic_")


def _new_directory(above: Path, prefix: str) -> Path:
    """Make a directory with an unused name, for this user only. Raises OSError if it cannot be made."""
    while True:
        name = base64.b32encode(os.urandom(_RANDOM_BYTES)).decode().lower()
        with suppress(FileExistsError):
            (above / f"{prefix}{name}").mkdir(mode=0o700)
            return above / f"{prefix}{name}"


def _run_directories(base: Path, run_id: str, nodes: Sequence[str]) -> dict[str | None, Path]:
    """Make the directories of all nodes, under the same new name."""
    first, *rest = nodes or (None,)
    above = base / first if first else base
    above.mkdir(parents=True, exist_ok=True)
    directories: dict[str | None, Path] = {first: _new_directory(above, f"{run_id}_")}
    for node in rest:
        assert node is not None
        directories[node] = base / node / directories[first].name
        directories[node].parent.mkdir(exist_ok=True)
        directories[node].mkdir(mode=0o700)
    return directories


@dataclass(frozen=True, slots=True)
class AttemptLogs:
    """The log files of one node for one start of its ranks."""

    directory: Path | None
    """Directory of the attempt; None if there are no files."""

    @classmethod
    def create(
        cls, run_directory: Path | None, restart_count: int, nproc_per_node: int, *, required: bool = True
    ) -> AttemptLogs:
        """Make an empty directory for each local rank. If that fails and files are required, LogDirectoryError."""
        if run_directory is None:
            return cls(None)
        directory = run_directory / f"attempt_{restart_count}"
        shutil.rmtree(directory, ignore_errors=True)
        try:
            for local_rank in range(nproc_per_node):
                (directory / str(local_rank)).mkdir(parents=True)
        except OSError as error:
            if not required:
                return cls(None)
            raise _unusable(directory, error) from error
        return cls(directory)

    def error_file(self, local_rank: int) -> str:
        """Return the path of a rank's error file; empty if there are no files."""
        return "" if self.directory is None else str(self.directory / str(local_rank) / "error.json")

    def stream_file(self, local_rank: int, stream: Stream) -> Path | None:
        return self.directory and self.directory / str(local_rank) / f"{stream}.log"

    def filtered_file(self, stream: Stream) -> Path | None:
        """Return the path of the log of lines that match the duplicate filters; None if there are no files."""
        return self.directory and self.directory / f"filtered_{stream}.log"


@dataclass(frozen=True, slots=True)
class Destination:
    """Destinations of one stream of one rank; it is discarded if ``console`` and ``file`` are unset."""

    console: bool
    prefix: bool
    """Lines on the console have a prefix that names the rank."""
    file: Path | None
    filtered: bool
    """Lines that match the duplicate filters go to the filtered log."""


def destination(
    attempt: AttemptLogs,
    local_rank: int,
    stream: Stream,
    *,
    redirects: StreamSelection,
    tee: StreamSelection,
    local_ranks_filter: frozenset[int] | None,
    filters: Sequence[str],
    prefix: bool | None = None,
) -> Destination:
    """Return the destinations of a stream by the launcher's options, as torchrun does.

    The rank filter applies to the console and to the filtered log. ``filters`` are those of this stream, and apply to
    tee'd streams only. ``prefix`` None means a prefix on tee'd streams.
    """
    if attempt.directory is None:
        return Destination(console=True, prefix=bool(prefix), file=None, filtered=False)
    bit = _BITS[stream]
    teed = bool(tee.of(local_rank) & bit)
    to_file = teed or bool(redirects.of(local_rank) & bit)
    selected = not local_ranks_filter or local_rank in local_ranks_filter
    return Destination(
        console=selected and (teed or not to_file),
        prefix=teed if prefix is None else prefix,
        file=attempt.stream_file(local_rank, stream) if to_file else None,
        filtered=selected and teed and bool(filters),
    )


def matching_lines(lines: bytes, needles: Sequence[bytes], prefix: bytes = b"") -> bytes:
    """Return the whole lines that contain any of ``needles``, each with ``prefix`` before it."""
    present = [needle for needle in needles if needle in lines]
    if not present:
        return b""
    found = (line for line in lines.removesuffix(b"\n").split(b"\n") if any(needle in line for needle in present))
    return b"".join(b"%b%b\n" % (prefix, line) for line in found)


class FilteredLog:
    """``filtered_stdout.log`` or ``filtered_stderr.log`` of one node's attempt, written without a buffer."""

    def __init__(self, file: Path, filters: Sequence[str]) -> None:
        """Make the file, which stays empty if no line matches. Raises OSError."""
        self._needles = [os.fsencode(text) for text in filters]
        self._file = open(file, "wb", buffering=0)  # noqa: SIM115 - closed by close()

    def write(self, lines: bytes, prefix: bytes) -> None:
        """Write the matching lines of whole lines of one rank, given without prefix. Raises OSError."""
        if found := matching_lines(lines, self._needles, prefix):
            self._file.write(found)

    def close(self) -> None:
        self._file.close()
