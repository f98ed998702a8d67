"""The exceptions of programs whose storage fails, and of readers of files that are damaged.

Errors of the operating system come as exceptions, ready to be raised; those of torch 2.13 and safetensors 0.8 as the
last line of a traceback.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from accelerate_sim.faults.words.draw import Draw

SYSTEM_ERRORS: Final = {
    "full": errno.ENOSPC,
    "stale": errno.ESTALE,
    "readonly": errno.EROFS,
    "permission": errno.EACCES,
    "io": errno.EIO,
    "quota": errno.EDQUOT,
    "gone": errno.ENOTCONN,
    "missing": errno.ENOENT,
}
"""Error number of each way in which a disk or a file system fails."""

DAMAGED_ARCHIVE: Final = (
    "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory. "
    "This is an internal "
    "miniz error. If you are seeing this error, there is a high likelihood that your checkpoint file is "
    "corrupted. This "
    "can happen if the checkpoint was not saved properly, was transferred incorrectly, or the file was modified after "
    "saving."
)
HEADER_ERRORS: Final = {
    "data cut": "incomplete metadata, file not fully covered",
    "header cut": "invalid header length",
    "empty": "header too small",
    "length": "header too large",
    "json": "invalid JSON in header: expected value at line 1 column 1",
}
"""safetensors' words about a file, by the damage. A flipped byte in a tensor's data is not noticed."""

OLD_HEADER_ERRORS: Final = {
    "data cut": "MetadataIncompleteBuffer",
    "header cut": "InvalidHeaderLength",
    "empty": "HeaderTooSmall",
    "length": "HeaderTooLarge",
    "json": "InvalidHeaderDeserialization",
}
"""The same before safetensors 0.6."""


def system_error(kind: str, path: str | None = None) -> OSError:
    """The exception of a failed call; ``path`` if the call names one, as ``open`` does and ``write`` does not.

    Its class is the one that Python chooses for the error number, such as PermissionError.
    """
    number = SYSTEM_ERRORS[kind]
    return OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))


def last_line(error: BaseException) -> str:
    """The last line of the traceback of an exception of Python's own."""
    return f"{type(error).__name__}: {error}"


def save_on_full_disk(draw: Draw) -> str:
    """The exception of ``torch.save`` on a full disk: the position reached is not the one expected."""
    position = 64 * (9 + draw.below("position", 4_000_000))
    return f"RuntimeError: [enforce fail at inline_container.cc:672] . unexpected pos {position} vs {position - 106}"


def save_without_folder(folder: str) -> str:
    """The exception of ``torch.save`` into a folder that does not exist."""
    return f"RuntimeError: Parent directory {folder} does not exist."


SMALL_ARCHIVE: Final = range(4097, 69584)
"""Sizes of a cut file at which the reader seeks in front of its beginning, an error of its own."""


def damaged_torch_file(damage: str, size: int | None = None) -> str:
    """The exception of ``torch.load`` on a file that is ``cut`` to ``size`` bytes, ``empty``, or ``garbage``."""
    if damage == "cut" and size in SMALL_ARCHIVE:
        return "OSError: [Errno 22] Invalid argument"
    if damage == "garbage":
        return "_pickle.UnpicklingError: Weights only load failed. " + WEIGHTS_ONLY
    return "EOFError" if damage == "empty" else DAMAGED_ARCHIVE


WEIGHTS_ONLY: Final = (
    "In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load` from "
    "`False` to `True`. "
    "Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result "
    "in arbitrary code "
    "execution. Do it only if you got the file from a trusted source."
)


def damaged_safetensors(damage: str, *, version: str = "0.8") -> str:
    """The exception of safetensors on a damaged file, by version."""
    major, minor = (int(part) for part in version.split(".")[:2])
    new = (major, minor) >= (0, 6)
    words = HEADER_ERRORS[damage] if new else OLD_HEADER_ERRORS[damage]
    module = "safetensors._safetensors_rust" if new else "safetensors_rust"
    return f"{module}.SafetensorError: Error while deserializing header: {words}"
