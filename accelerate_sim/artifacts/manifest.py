"""manifest.json: every file of a directory with its size and a checksum, and whether a directory still agrees with it.

The checksum is SHA-256 of a file's bytes without its hole: a file system is asked where holes are, so terabytes of them
are checked in no time. Of a file that was copied hole and all, the same bytes at its beginning are checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts.file_image import FileImage, json_image

NAME = "manifest.json"
FORMAT = 1
LARGEST_BYTES = 64 * 2**20
"""A manifest, or the head of a file, that claims to be bigger is none of ours."""


class Damaged(Exception):
    """What is wrong with a directory, as the end of a sentence that begins with its name."""


def manifest_image(images: Iterable[FileImage], about: Mapping[str, Any]) -> FileImage:
    """The manifest of these files."""
    files = [
        {
            "name": image.name,
            "bytes": image.size_bytes,
            "head_bytes": len(image.head),
            "sha256": hashlib.sha256(image.head).hexdigest(),
        }
        for image in images
    ]
    return json_image(NAME, {"simulated": True, "format": FORMAT, **about, "files": files})


def verify(directory: Path) -> dict[str, Any]:
    """The manifest of ``directory`` if every file is as it says; raises :class:`Damaged`."""
    if directory.is_symlink():
        raise Damaged("is a symbolic link; name the directory itself")
    manifest = read_json(directory / NAME)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, list):
        raise Damaged(f"has a {NAME} of another program")
    for entry in files:
        _verify_file(directory, entry)
    return manifest


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises :class:`Damaged`."""
    data = _head(path, LARGEST_BYTES)
    try:
        document = json.loads(data)
    except ValueError as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its bytes"
        raise Damaged(f"has a {path.name} that is no JSON ({where}): it was cut off or changed") from None
    if not isinstance(document, dict):
        raise Damaged(f"has a {path.name} that is no JSON object")
    return document


def _verify_file(directory: Path, entry: object) -> None:
    match entry:
        case {"name": str(name), "bytes": int(size), "head_bytes": int(head_bytes), "sha256": str(checksum)}:
            pass
        case _:
            raise Damaged(f"has a {NAME} with an entry that names no file")
    if Path(name).name != name or not 0 <= head_bytes <= min(size, LARGEST_BYTES):
        raise Damaged(f"has a {NAME} that leads out of the directory or lies about sizes: {name!r}")
    path = directory / name
    head = _head(path, head_bytes, expected_bytes=size)
    if hashlib.sha256(head).hexdigest() != checksum:
        raise Damaged(f"has a {name} with other bytes than {NAME} says")


def _head(path: Path, most_bytes: int, expected_bytes: int | None = None) -> bytes:
    """The first bytes of a plain file that does not lead out of its directory."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Damaged(f"has no {path.name}") from None
    except OSError as error:
        link = path.is_symlink()
        reason = "is a symbolic link out of it or into it" if link else f"can't be read ({error.strerror})"
        raise Damaged(f"has a {path.name} that {reason}") from None
    with open(fd, "rb") as file:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise Damaged(f"has a {path.name} that is no plain file")
        if expected_bytes is not None and state.st_size != expected_bytes:
            raise Damaged(f"has a {path.name} of {state.st_size:,} bytes where {NAME} says {expected_bytes:,}")
        return file.read(most_bytes)
