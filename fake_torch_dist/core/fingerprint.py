"""The description of a collective that members compare, so that different collectives raise an error at once."""

from __future__ import annotations

from typing import Final, NamedTuple

ROUNDS: Final = 4
"""Numbers that one collective takes: each of its rounds has its own."""


class Call(NamedTuple):
    """The collective that a member is about to run; the members of a group have to agree on all fields."""

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
