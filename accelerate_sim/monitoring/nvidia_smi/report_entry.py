"""What the tree of ``-q`` is made of."""

from __future__ import annotations

from dataclasses import dataclass

NA = "N/A"


@dataclass(frozen=True, slots=True)
class Entry:
    """A value or a section. Without a label it is in the XML only, without a tag in the text only."""

    label: str
    tag: str
    value: str | tuple[Entry, ...]
    xml: str | None = None
    """The value in XML where it differs."""


def section(label: str, tag: str, *entries: Entry) -> Entry:
    """Entries under a heading of their own."""
    return Entry(label, tag, entries)


def all_na(*names: tuple[str, str]) -> tuple[Entry, ...]:
    """Entries, each (label, tag), that do not apply."""
    return tuple(Entry(label, tag, NA) for label, tag in names)
