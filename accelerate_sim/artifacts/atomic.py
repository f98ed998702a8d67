"""Writes directories and small files so that each is complete or absent, even if the process ends meanwhile.

Each is written beside its place under a name that begins with ``.tmp-``, synced, and renamed; syncing the parent then
makes the new name durable. A process that dies before that leaves a ``.tmp-`` directory, which the next process
removes. Anything else with such a name, a link for instance, is removed and never followed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.file_image import FileImage
from accelerate_sim.artifacts.output_error import OutputError
from fake_torch_dist.terminal.descriptor import write_all

UNFINISHED = ".tmp-"
PROBE_BYTES = 2**22
SPARE_BYTES = 2**16
"""Bytes of the disk that are left free for the file system itself."""
FEW = 16
"""Up to this many files are synced one by one; more are synced together."""


def write_directory(target: Path, images: Sequence[FileImage]) -> None:
    """Write directory ``target`` with these files; an older one is replaced. Raises OSError, without any change."""
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
    """Write a small file; it replaces an older one. Raises OSError and then changes nothing.

    NotPlain for a device, a pipe or a directory of that name, and for a link to one: a file would take its place.
    """
    if target.exists() and not target.is_file():
        raise plain_file.NotPlain(target)
    unfinished = _beside(target)
    try:
        with _new_file(unfinished) as fd:
            write_all(fd, data)
            os.fsync(fd)
        os.replace(unfinished, target)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
    sync_directory(target.parent)


def delete_directory(target: Path) -> OSError | None:
    """Remove a directory by renaming it before its files are deleted, so that no reader sees a part. Raises OSError.

    Returns the reason if files are left over, under a name that :func:`remove_unfinished` recognises; else None.
    """
    unfinished = _beside(target)
    _remove(unfinished)
    os.rename(target, unfinished)
    return _remove(unfinished)


def remove_unfinished(parent: Path, failed: Callable[[OSError], object] = lambda error: None) -> list[str]:
    """Remove unfinished directories in ``parent``; return the names that they would have had.

    A process that died or a deletion that failed leaves them. ``failed`` is called with the error if one stays.
    """
    try:
        found = sorted(path for path in parent.iterdir() if path.name.startswith(UNFINISHED))
    except OSError as error:
        if parent.is_dir():
            failed(error)
        return []
    for path in found:
        if left := _remove(path):
            failed(left)
    return [path.name.removeprefix(UNFINISHED) for path in found]


def make_directory(path: Path, above: Path) -> None:
    """Make ``path`` and the directories between it and ``above``. Raises OSError, also if one of them is a link."""
    if path != above:
        make_directory(path.parent, above)
    with suppress(FileExistsError):
        path.mkdir(parents=path == above)
    if not path.is_dir() or (path != above and path.is_symlink()):
        raise NotADirectoryError(errno.ENOTDIR, f"{path.name} is no directory of its own")


def keeps_holes(directory: Path) -> bool:
    """Return True if the file system of ``directory`` stores holes without blocks. Raises OSError."""
    probe = directory / f"{UNFINISHED}probe"
    try:
        with _new_file(probe) as fd:
            os.truncate(fd, PROBE_BYTES)
            os.fsync(fd)
            return os.fstat(fd).st_blocks * 512 < PROBE_BYTES
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.EINVAL, errno.EPERM):
            return False
        raise
    finally:
        with suppress(OSError):
            probe.unlink()


def sync_directory(directory: Path) -> None:
    """Sync ``directory``, so that names made, changed or removed in it are durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def explained(what: Path, intact: str | Callable[[], str] = "The run's other files are complete.") -> Iterator[None]:
    """Turn an OSError into an :class:`OutputError` that says what was not written, why, and what is intact.

    ``intact`` may be a function: it is called only after an error.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if not os.path.isdir(what.parent):
            reason = "its directory has gone"
        rest = intact if isinstance(intact, str) else intact()
        raise OutputError(f"{what} could not be written: {reason}. {rest}") from None


def _beside(target: Path) -> Path:
    return target.with_name(UNFINISHED + target.name)


@contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """Yield the descriptor of a new file and close it. An older entry of that name is removed first. Raises OSError."""
    _remove(path)
    fd = plain_file.create(path)
    try:
        yield fd
    finally:
        os.close(fd)


def _remove(path: Path) -> OSError | None:
    """Remove the file or directory ``path``; return the first error if a part of it stays, else None."""
    failed: list[OSError] = []
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        shutil.rmtree(path, onerror=lambda function, name, error: failed.append(_os_error(error[1])))
    except OSError as error:
        failed.append(error)
    return failed[0] if failed and os.path.lexists(path) else None


def _os_error(error: BaseException) -> OSError:
    return error if isinstance(error, OSError) else OSError(str(error))


def _require_space(directory: Path, images: Iterable[FileImage]) -> None:
    """Raise ENOSPC before the first byte is written if the disk has no room for the data outside holes."""
    state = os.statvfs(directory)
    block = state.f_frsize or 4096
    needed = sum(-(-len(image.head) // block) + 1 for image in images) * block + SPARE_BYTES
    free = state.f_bavail * block
    if needed > free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({needed:,} bytes needed, {free:,} free)")


def _write_files(directory: Path, images: Sequence[FileImage]) -> None:
    sync_at_once = _sync_of_file_system() if len(images) > FEW else None
    for image in images:
        fd = plain_file.create(directory / image.name)
        try:
            _write_image(fd, image)
            if sync_at_once is None:
                os.fsync(fd)
        finally:
            os.close(fd)
    if sync_at_once:
        sync_at_once(directory)


def _sync_of_file_system() -> Callable[[Path], None] | None:
    """Linux's syncfs(2), which Python does not offer; None on systems without it.

    One call syncs hundreds of files, which takes one wait for the disk. It reports failed writes as fsync does.
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
    write_all(fd, image.head)
    os.truncate(fd, image.size_bytes)


def _put_in_place(unfinished: Path, target: Path) -> None:
    if not os.path.lexists(target):
        os.rename(unfinished, target)
        return
    replaced = _beside(target).with_name(f"{UNFINISHED}replaced-{target.name}")
    _remove(replaced)
    os.rename(target, replaced)
    try:
        os.rename(unfinished, target)
    except OSError:
        os.rename(replaced, target)
        raise
    _remove(replaced)
