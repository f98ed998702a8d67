"""Arrays of the caller that a result may be written into as it arrives: those that no member may still be reading."""

from __future__ import annotations

import numpy as np

from fake_torch_dist.core.reduction import Array


def writable_row(mine: Array) -> Array | None:
    """The one row of ``mine`` if it is contiguous; None otherwise."""
    row = mine[0, ...]
    return row if row.flags.c_contiguous else None


def writable_rows(rows: list[Array], mine: Array, me: int) -> list[Array] | None:
    """``rows``, one for each member, if they can be written while ``mine``, the data of member ``me``, is being read.

    The own row may be ``mine`` itself.
    """
    if not all(row.flags.c_contiguous for row in rows):
        return None
    for index, row in enumerate(rows):
        if np.may_share_memory(row, mine):
            same = row.__array_interface__["data"] == mine.__array_interface__["data"]
            if index != me or not same or not mine[0, ...].flags.c_contiguous:
                return None
    return rows


def writable_block(output: Array, mine: Array, me: int) -> Array | None:
    """The row of ``output`` if the fold of block ``me`` may go there at once; it may be that block of ``mine``."""
    row = output[0, ...]
    if not row.flags.c_contiguous:
        return None
    if np.may_share_memory(row, mine):
        address, own = row.__array_interface__["data"][0], mine.__array_interface__["data"][0]
        if not mine.flags.c_contiguous or address != own + me * row.nbytes:
            return None
    return row
