"""Makes and locks ``--output-dir`` before anything is written there, and words the reasons to refuse it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from accelerate_sim.checkpoints.directory import METRICS, checkpoint_step, in_the_way, latest_run
from accelerate_sim.checkpoints.output_lock import LAUNCHED_OWNER_WAIT_S, OWNER_WAIT_S, Owned, own
from accelerate_sim.config.problems import ConfigError, Problem, printable

OPTION = "--output-dir"
_NAME_ANOTHER = "Name another directory."
_KINDS = {stat.S_IFREG: "file", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}


def own_if_there(directory: Path, *, launched: bool) -> None:
    """Lock a directory that exists, before its files are read. Raises ConfigError.

    ``launched``: a launcher has started this process.
    """
    with refused(directory):
        if directory.is_dir():
            own(directory, _owner_wait_s(launched))


def make_and_own(directory: Path, *, launched: bool) -> None:
    """Make the directory if it is not there, and lock it. Raises OSError, Owned."""
    directory.mkdir(parents=True, exist_ok=True)
    own(directory, _owner_wait_s(launched))


def _owner_wait_s(launched: bool) -> float:
    return LAUNCHED_OWNER_WAIT_S if launched else OWNER_WAIT_S


def require_empty(directory: Path) -> None:
    """Check that a new run overwrites nothing in the directory. Raises ConfigError, OSError."""
    if latest_run(directory) is not None:
        raise _problem(directory, "holds another run", "Go on with it with --resume auto, or name another directory.")
    if name := in_the_way(directory):
        way_out = f"Name another directory, or move {name} away."
        if checkpoint_step(Path(name)) is not None:
            way_out = f"Go on with --resume {printable(str(directory / name))}, or name another directory."
        raise _problem(directory, f"holds the {name} of another run that has no run.json any more", way_out)
    with suppress(FileNotFoundError):
        os.unlink(directory / METRICS)  # a process that was killed while it started has left it empty


@contextmanager
def refused(directory: Path) -> Iterator[None]:
    """Turn Owned and OSError in the block into a ConfigError about ``--output-dir``."""
    try:
        yield
    except Owned as error:
        way_out = "Wait until it has ended, end it, or name another directory."
        raise _problem(directory, str(error), way_out) from None
    except OSError as error:
        reason, way_out = _reason(directory, error)
        raise _problem(directory, reason, way_out) from None


def _reason(directory: Path, error: OSError) -> tuple[str, str]:
    """The reason why nothing can be written to ``directory``, and the way out."""
    for path in (directory, *directory.parents):
        if os.path.lexists(path):
            if what := _no_directory(path):
                return what if path == directory else f"is below {printable(str(path))}, which {what}", _NAME_ANOTHER
            break
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"can't be written: {error.strerror}", "Make room, or name a directory on another disk."
    forbidden = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    way_out = "Name a directory that you may write to." if forbidden else _NAME_ANOTHER
    return f"can't be written: {error.strerror or error}", way_out


def _no_directory(path: Path) -> str:
    """The kind of file that ``path`` is, as the end of a sentence; empty for a directory."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        why = "does not exist" if error.errno == errno.ENOENT else f"can't be followed: {error.strerror}"
        return f"is a symbolic link to {printable(os.readlink(path))}, which {why}" if path.is_symlink() else ""
    return "" if kind == stat.S_IFDIR else f"is a {_KINDS.get(kind, 'device')}, not a directory"


def _problem(directory: Path, reason: str, way_out: str) -> ConfigError:
    return ConfigError([Problem(OPTION, None, "", printable(str(directory)), reason, way_out)])
