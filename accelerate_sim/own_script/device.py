"""``Device``: the name of a rank's device, as scripts read it, print it and hand it to ``.to()``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """A device such as ``cuda:3``; equal to the string of its name."""

    type: str
    """Kind of device: cuda or cpu."""
    index: int | None = None
    """Number of the device in its machine, None if it has none."""

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Device | str) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"
