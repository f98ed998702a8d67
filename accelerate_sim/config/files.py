"""Reads the text of a config file, at most LARGEST_FILE bytes, and refuses files that cannot be one."""

import os
import re
import stat
from difflib import get_close_matches
from pathlib import Path

from accelerate_sim.config.problems import ConfigError, Problem, printable
from accelerate_sim.config.shipped import shipped_configs

LARGEST_FILE = 10**6
"""Most bytes of a config file. Configs are a page long, so a bigger file was given by mistake."""

_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_text(path: Path) -> str:
    """Return the text of a config file. Raises :class:`ConfigError` if it is missing, too big, or not text."""
    data = _read_bytes(path)
    if len(data) > LARGEST_FILE:
        raise _error(path, "is bigger than 1 MB", "A config is a page of YAML; is it the right file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"byte {data[error.start]:#04x} is not UTF-8 text"
        raise _error(path, reason, "Save the file as UTF-8.", line) from None
    if not text.strip():
        raise _error(path, "the file is empty", "See configs/ for examples, or --print-config for all keys.")
    refuse_control_characters(text, str(path))
    return text


def refuse_control_characters(text: str, source: str) -> None:
    """Raise :class:`ConfigError` at the first control character other than tabs and line ends."""
    if found := _CONTROL_CHARACTER.search(text):
        line = text.count("\n", 0, found.start()) + 1
        reason = f"control character '{printable(found[0])}'"
        raise ConfigError([Problem(printable(source), line, "", None, reason, "Remove it.")])


def _read_bytes(path: Path) -> bytes:
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind != stat.S_IFREG:
            reason = f"is {_KINDS.get(kind, 'a special file')}, not a file"
            raise _error(path, reason, "Name a YAML file, e.g. configs/llama70b.yaml.")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise _error(path, "no such file", _similar_file(path)) from None
    except ValueError:
        raise _error(path, "is not a file name", "--list configs shows what there is.") from None
    except OSError as error:
        raise _error(path, f"can't be read: {error.strerror}", "Check its name and permissions.") from None


def _similar_file(path: Path) -> str:
    try:
        names = {file.stem: str(file) for file in sorted(path.parent.glob("*.y*ml"))}
    except (OSError, ValueError):
        names = {}
    for known in (names, {name: name for name in shipped_configs()}):
        if close := get_close_matches(path.stem.lower(), known, n=1):
            return f"Did you mean '{printable(known[close[0]])}'?"
    return "--list configs shows what there is."


def _error(path: Path, reason: str, way_out: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(printable(str(path)), line, "", None, reason, way_out)])
