"""Sizes of memory as the fault language writes them: ``20MiB``."""

from __future__ import annotations

import re

from accelerate_sim.faults.mistake import FaultMistake, quoted

UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"(\d{1,9})(B|KiB|MiB|GiB|TiB)", re.ASCII)


def parse_size(name: str, text: str) -> str:
    """The size as it is written. Raises FaultMistake."""
    if not _SIZE.fullmatch(text):
        raise FaultMistake(f"{name}={quoted(text)} is no size", "Write it with its unit: 512MiB or 20GiB.")
    return text


def bytes_of(size: object) -> int:
    """Bytes of a size that has been parsed."""
    found = _SIZE.fullmatch(str(size))
    assert found
    return int(found[1]) * UNITS[found[2]]
