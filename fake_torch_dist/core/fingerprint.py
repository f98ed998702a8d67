"""What a member of a group says it is about to do, so that members who do different things are told at once."""

from __future__ import annotations

from typing import Final, NamedTuple

ROUNDS: Final = 4
"""Numbers that one collective takes: each of its rounds has its own."""


class Call(NamedTuple):
    """What a member is about to do; the members of a group have to agree on all of it."""

    collective: str
    dtype: str
    shape: tuple[int, ...]
    detail: str = ""
    """The reduction, or the root."""

    def fingerprint(self, number: int) -> bytes:
        """The text that members compare, as TORCH_DISTRIBUTED_DEBUG=DETAIL words it."""
        detail = f", {self.detail}" if self.detail else ""
        return (
            f"CollectiveFingerPrint(SequenceNumber={number // ROUNDS}, OpType={self.collective}, "
            f"TensorShape={list(self.shape)}, TensorDtypes={self.dtype}{detail})"
        ).encode()
