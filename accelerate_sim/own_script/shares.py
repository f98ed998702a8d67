"""Shares of a list, a tuple, an array, a dataset, or a mapping of them, one per rank, as Accelerate splits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fake_torch_dist import LocalTensor


def bounds(length: int, rank: int, num_ranks: int) -> tuple[int, int]:
    """(begin, end) of a rank's share of ``length`` entries: the first ranks have one more where it does not divide."""
    each, extra = divmod(length, num_ranks)
    begin = rank * each + min(rank, extra)
    return begin, begin + each + (rank < extra)


def share(inputs: Any, rank: int, num_ranks: int, *, padded: bool) -> Any:
    """Entries of ``inputs`` for ``rank``; ``padded`` repeats the last entry until all shares have one length."""
    if isinstance(inputs, Mapping):
        return {key: share(value, rank, num_ranks, padded=padded) for key, value in inputs.items()}
    if isinstance(inputs, LocalTensor):
        begin, end = bounds(len(inputs), rank, num_ranks)
        return LocalTensor(share(np.moveaxis(inputs.shards, 1, 0), rank, num_ranks, padded=padded).swapaxes(0, 1))
    if not isinstance(inputs, list | tuple | np.ndarray) and not hasattr(inputs, "select"):
        return inputs  # one object for everybody
    begin, end = bounds(len(inputs), rank, num_ranks)
    missing = -(-len(inputs) // num_ranks) - (end - begin) if padded else 0
    if isinstance(inputs, np.ndarray):
        return inputs[[*range(begin, end), *[len(inputs) - 1] * missing]]
    if isinstance(inputs, list | tuple):
        rest = [inputs[-1]] * missing
        return [*inputs[begin:end], *rest] if isinstance(inputs, list) else (*inputs[begin:end], *rest)
    return inputs.select([*range(begin, end), *[len(inputs) - 1] * missing])


def all_shares(inputs: Any, num_ranks: int, *, padded: bool) -> Any:
    """Shares of all ranks: those of an array as a LocalTensor, those of other sequences one after the other.

    Raises ValueError if the shares of an array differ in length.
    """
    if isinstance(inputs, Mapping):
        return {key: all_shares(value, num_ranks, padded=padded) for key, value in inputs.items()}
    parts = [share(inputs, rank, num_ranks, padded=padded) for rank in range(num_ranks)]
    if isinstance(inputs, np.ndarray):
        if len(inputs) % num_ranks and not padded:
            raise ValueError(
                f"split_between_processes: {len(inputs)} rows do not divide among {num_ranks} ranks, and a process "
                "that plays all of them holds shares of one length. Use apply_padding=True, or start a process for "
                f"each rank: fake-torchrun --nproc-per-node {num_ranks}"
            )
        return LocalTensor(np.stack(parts))
    if isinstance(inputs, list):
        return [entry for part in parts for entry in part]
    if isinstance(inputs, tuple):
        return tuple(entry for part in parts for entry in part)
    return inputs


def entries_of(shares: Any) -> int | None:
    """Entries of the shares of all ranks, where they are Python objects; None for tensors."""
    if isinstance(shares, Mapping):
        return next((entries_of(value) for value in shares.values()), None)
    return len(shares) if isinstance(shares, list | tuple) else None
