"""Entries of ``faults.play`` as text: a fault is written as words, or as a mapping of the same words.

Only the form is checked here. ``accelerate_sim.faults`` reads the words, once the rest of the config is known.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

MOST = 10_000
"""Faults of a config."""
_PLAIN = re.compile(r"[\w=:,.+%/*@<>()\[\]{}?!;|&~#^-]+", re.ASCII)


def fault_entries(value: Any) -> tuple[str, ...]:
    """The words of each fault. Raises ValueError, worded for a message about the key."""
    entries = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(entries, list | tuple):
        raise ValueError("is no list of faults; write e.g. [kill rank=13 at=step:40]")
    if len(entries) > MOST:
        raise ValueError(f"has more than {MOST:,} faults; use faults.rate with faults.drawn: play for many")
    return tuple(map(_words, entries))


def _words(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, Mapping):
        raise ValueError(f"holds {entry!r:.40}, which is no fault; write e.g. 'kill rank=13 at=step:40'")
    if not isinstance(entry.get("kind"), str):
        raise ValueError("has a fault without a kind; write e.g. {kind: kill, rank: 13, at: 'step:40'}")
    return " ".join([str(entry["kind"]), *(_word(name, value) for name, value in entry.items() if name != "kind")])


def _word(name: str, value: Any) -> str:
    if value is True and name in ("store", "job"):
        return name
    if value is None or isinstance(value, Mapping | list | tuple):
        raise ValueError(f"has a fault whose {name!r:.40} is not one value; write it as text in quotes")
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return word(f"{name}={text}")


def word(text: str) -> str:
    """The text as one word of a shell's line, in quotes only if it has to be."""
    return text if _PLAIN.fullmatch(text) else shlex.quote(text)
