"""``ReportEntry``: a node in the tree of ``-q``."""

from __future__ import annotations

from dataclasses import dataclass

NA = "N/A"
DEPRECATED = "Requested functionality has been deprecated"


@dataclass(frozen=True, slots=True)
class ReportEntry:
    """A value or a section. Without a label it appears in the XML only, without a tag in the text only."""

    label: str
    tag: str
    value: str | tuple[ReportEntry, ...]
    xml: str | None = None
    """The value in the XML, if it differs from that in the text."""


def section(label: str, tag: str, *entries: ReportEntry) -> ReportEntry:
    """A section of entries."""
    return ReportEntry(label, tag, entries)


def all_na(*names: tuple[str, str]) -> tuple[ReportEntry, ...]:
    """Entries, each (label, tag), whose value is N/A."""
    return tuple(ReportEntry(label, tag, NA) for label, tag in names)
