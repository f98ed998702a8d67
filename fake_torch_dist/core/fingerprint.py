"""The description of a collective that members compare, so that different collectives raise an error at once."""

from __future__ import annotations

from functools import lru_cache
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
        return f"CollectiveFingerPrint(SequenceNumber={number // ROUNDS}, {_words(self)})".encode()


@lru_cache(maxsize=256)
def _words(call: Call) -> str:
    """The part of the text that does not change while a program repeats a collective."""
    detail = f", {call.detail}" if call.detail else ""
    return f"OpType={call.collective}, TensorShape={list(call.shape)}, TensorDtypes={call.dtype}{detail}"
