"""Directories and small files that are complete or absent, whatever happens while they are written.

Written beside under a name that begins with ``.tmp-``, synced, renamed; then the parent is synced, which makes the name
last. A process that dies in between leaves a ``.tmp-`` directory that the next one removes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from accelerate_sim.artifacts.file_image import FileImage
from accelerate_sim.artifacts.output_error import OutputError

UNFINISHED = ".tmp-"
PROBE_BYTES = 2**22
SPARE_BYTES = 2**16
"""Left free for the file system's own needs."""
FEW = 16
"""Files that are waited for one by one; more than that, all at once."""


def write_directory(target: Path, images: Sequence[FileImage]) -> None:
    """Write ``target`` with these files, in place of one that is there. Raises OSError; then all is as before."""
    unfinished = _beside(target)
    _remove(unfinished)
    try:
        _require_space(target.parent, images)
        unfinished.mkdir()
        _write_files(unfinished, images)
        sync_directory(unfinished)
        _put_in_place(unfinished, target)
    except OSError:
        _remove(unfinished)
        raise
    sync_directory(target.parent)


def write_file(target: Path, data: bytes) -> None:
    """Write a small file, in place of one that is there. Raises OSError; then all is as before."""
    unfinished = _beside(target)
    try:
        with open(unfinished, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
    sync_directory(target.parent)


def delete_directory(target: Path) -> None:
    """Remove a directory in one moment, then its files: nobody ever sees half of it."""
    unfinished = _beside(target)
    _remove(unfinished)
    os.rename(target, unfinished)
    _remove(unfinished)


def remove_unfinished(parent: Path) -> list[str]:
    """Remove what a process that died has left below ``parent``; the names of what it was to become."""
    found = sorted(parent.glob(UNFINISHED + "*"))
    for path in found:
        _remove(path)
    return [path.name.removeprefix(UNFINISHED) for path in found]


def keeps_holes(directory: Path) -> bool:
    """Whether a file of ``directory`` may have a hole that occupies nothing. Raises OSError."""
    probe = directory / f"{UNFINISHED}probe"
    try:
        with open(probe, "wb") as file:
            os.truncate(file.fileno(), PROBE_BYTES)
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_blocks * 512 < PROBE_BYTES
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.EINVAL, errno.EPERM):
            return False
        raise
    finally:
        with suppress(OSError):
            probe.unlink()


def sync_directory(directory: Path) -> None:
    """Names that were made, changed or removed in ``directory`` last. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def explained(what: Path, intact: str) -> Iterator[None]:
    """Turns an OSError into an :class:`OutputError` that says what was not written, why, and what is intact."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if not what.parent.is_dir():
            reason = "its directory has gone"
        raise OutputError(f"{what} could not be written: {reason}. {intact}") from None


def _beside(target: Path) -> Path:
    return target.with_name(UNFINISHED + target.name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _require_space(directory: Path, images: Iterable[FileImage]) -> None:
    """Raise ENOSPC before the first byte if the disk has no room for what is not hole."""
    state = os.statvfs(directory)
    block = state.f_frsize or 4096
    needed = sum(-(-len(image.head) // block) + 1 for image in images) * block + SPARE_BYTES
    free = state.f_bavail * block
    if needed > free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({needed:,} bytes needed, {free:,} free)")


def _write_files(directory: Path, images: Sequence[FileImage]) -> None:
    sync_at_once = _sync_of_file_system() if len(images) > FEW else None
    for image in images:
        fd = os.open(directory / image.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _write_image(fd, image)
            if sync_at_once is None:
                os.fsync(fd)
        finally:
            os.close(fd)
    if sync_at_once:
        sync_at_once(directory)


def _sync_of_file_system() -> Callable[[Path], None] | None:
    """Linux's syncfs(2), which Python has no name for; None where there is none.

    Hundreds of files take one wait for the disk instead of hundreds. It reports failed writes as fsync does.
    """
    import ctypes

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        return None

    def sync(directory: Path) -> None:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if syncfs(fd):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(fd)

    return sync


def _write_image(fd: int, image: FileImage) -> None:
    rest = memoryview(image.head)
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.truncate(fd, image.size_bytes)


def _put_in_place(unfinished: Path, target: Path) -> None:
    if not target.exists():
        os.rename(unfinished, target)
        return
    replaced = _beside(target).with_name(f"{UNFINISHED}replaced-{target.name}")
    _remove(replaced)
    os.rename(target, replaced)
    os.rename(unfinished, target)
    _remove(replaced)
