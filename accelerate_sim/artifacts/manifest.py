"""Writes manifest.json, which lists the files of a directory with sizes and checksums, and checks a directory by it.

The checksum is SHA-256 of a file's bytes without its hole. The file system reports where holes are, so terabytes of
them are checked at once. In a copy whose hole was filled with zeros, the same leading bytes are checked.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.damage import Damaged, document_of
from accelerate_sim.artifacts.file_image import FileImage, json_image

NAME = "manifest.json"
FORMAT = 1
LARGEST_BYTES = 64 * 2**20
"""Largest manifest, and largest head of a file, in bytes; a manifest that states more is refused."""


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")
"""A plain file name, without a slash, so that no path leads out of the directory."""


def manifest_image(images: Iterable[FileImage], about: Mapping[str, Any]) -> FileImage:
    """The manifest that lists these files."""
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


def verify(directory: Path, required: Iterable[str] = ()) -> dict[str, Any]:
    """Return the manifest of ``directory`` if every file agrees with it. Raises :class:`Damaged`.

    ``required`` are names of files that the manifest must list.
    """
    if directory.is_symlink():
        raise Damaged("is a symbolic link; name the directory itself")
    manifest = read_json(directory / NAME)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, list):
        raise Damaged(f"has a {NAME} of another program")
    names = [_verify_file(directory, entry) for entry in files]
    for name in required:
        if name not in names:
            raise Damaged(f"has a {NAME} that does not list {name}")
    return manifest


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises :class:`Damaged`."""
    return document_of(_head(path, LARGEST_BYTES), path.name)


def _verify_file(directory: Path, entry: object) -> str:
    match entry:
        case {"name": str(name), "bytes": int(size), "head_bytes": int(head_bytes), "sha256": str(checksum)}:
            pass
        case _:
            raise Damaged(f"has a {NAME} with an entry that names no file")
    if not _NAME.fullmatch(name) or not 0 <= head_bytes <= min(size, LARGEST_BYTES):
        raise Damaged(f"has a {NAME} that leads out of the directory or lies about sizes: {name[:80]!a}")
    head = _head(directory / name, head_bytes, expected_bytes=size)
    if hashlib.sha256(head).hexdigest() != checksum:
        raise Damaged(f"has a {name} with other bytes than {NAME} says")
    return name


def _head(path: Path, most_bytes: int, expected_bytes: int | None = None) -> bytes:
    """Read the first bytes of a plain file; links, which may lead out of the directory, are refused."""
    try:
        fd = plain_file.open_to_read(path)
    except FileNotFoundError:
        raise Damaged(f"has no {path.name}") from None
    except OSError as error:
        raise Damaged(f"has a {path.name} that {_why(path, error)}") from None
    with open(fd, "rb") as file:
        found = os.fstat(fd).st_size
        if expected_bytes is not None and found != expected_bytes:
            raise Damaged(f"has a {path.name} of {found:,} bytes where {NAME} says {expected_bytes:,}")
        try:
            return file.read(most_bytes)
        except OSError as error:
            raise Damaged(f"has a {path.name} that can't be read ({error.strerror})") from None


def _why(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return "is a symbolic link out of it or into it"
    return "is no plain file" if isinstance(error, plain_file.NotPlain) else f"can't be read ({error.strerror})"
