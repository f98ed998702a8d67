"""Shapes, dtypes and list lengths of a collective's arrays, checked before anything is sent.

Arrays have a leading axis of the ranks played here; shapes in error texts are those of one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import whole_numbers
from fake_torch_dist.core.reduction import Array


def check_dtypes(array: Array, other: Array) -> None:
    """Raise ValueError, torch's, unless both have one dtype."""
    if array.dtype != other.dtype:
        raise ValueError(f"Invalid usage of tensors with different dtypes: {array.dtype} and {other.dtype}")


def check_list(what: str, side: str, arrays: Sequence[Array], like: Array, size: int) -> None:
    """Raise RuntimeError unless there is one array per member, each of the shape of ``like``."""
    if len(arrays) != size:
        raise RuntimeError(f"{what}: invalid {side} tensor list (expected length {size}, got {len(arrays)})")
    for index, array in enumerate(arrays):
        check_dtypes(array, like)
        if array.shape != like.shape:
            raise RuntimeError(
                f"{what}: invalid tensor size at index {index} "
                f"(expected {like.shape[1:]}, got {array.shape[1:]} per rank)"
            )


def check_parts(what: str, parts: Sequence[Array], own: Array, me: int) -> None:
    """One dtype, else ValueError; RuntimeError unless ``own`` has the shape of the part of group rank ``me``."""
    for part in parts:
        check_dtypes(part, own)
    if parts[me].shape != own.shape:
        raise RuntimeError(
            f"{what}: invalid tensor size at index {me} "
            f"(expected {own.shape[1:]}, as the output of group rank {me}, got {parts[me].shape[1:]})"
        )


def check_blocks(what: str, whole: Array, part: Array, size: int) -> None:
    """Raise RuntimeError unless ``whole`` is ``size`` parts, stacked or joined."""
    check_dtypes(whole, part)
    shape = part.shape[1:]
    stacked = (size, *shape)
    joined = (size * shape[0], *shape[1:]) if shape else (size,)
    if whole.shape[1:] not in (stacked, joined):
        raise RuntimeError(
            f"{what}: invalid tensor size (expected {joined} or {stacked} per rank for {size} ranks with {shape} "
            f"each, got {whole.shape[1:]})"
        )


def check_pairs(outputs: Sequence[Array], inputs: Sequence[Array], size: int) -> None:
    """Raise RuntimeError or ValueError, torch's, unless both lists of ``all_to_all`` have one entry per member and one
    dtype."""
    for side, arrays in (("input", inputs), ("output", outputs)):
        if len(arrays) != size:
            raise RuntimeError(f"alltoall: {side} tensor list size {len(arrays)} does not match world size {size}")
    for array in (*inputs, *outputs):
        check_dtypes(array, inputs[0])


def split_bounds(rows: int, splits: Sequence[int] | None, size: int, side: str) -> list[int]:
    """The first row of each member's block of ``rows`` rows, and the end. RuntimeError, torch's, if they don't fit."""
    sizes = [] if splits is None else whole_numbers(f"{side}_split_sizes", splits)
    if not sizes:
        if rows % size:
            raise RuntimeError(f"Tensor's dim 0 does not divide equally across group size ({side}: {rows} by {size})")
        sizes = [rows // size] * size
    if len(sizes) != size:
        raise RuntimeError(f"Number of tensor splits not equal to group size ({side}: {len(sizes)}, not {size})")
    if sum(sizes) != rows or min(sizes) < 0:
        raise RuntimeError(f"Split sizes doesn't match total dim 0 size ({side}: {sizes} of {rows})")
    bounds = [0]
    for count in sizes:
        bounds.append(bounds[-1] + count)
    return bounds


def check_timeout(timeout: object) -> None:
    """Raise TypeError unless ``timeout`` is None or a timedelta."""
    if timeout is not None and not isinstance(timeout, timedelta):
        raise TypeError(errors.TIMEOUT_TYPE.format(timeout=timeout))


def as_duration(timeout: timedelta | float) -> timedelta:
    """``timeout``; a float is seconds, as torch's C++ functions take it. TypeError for anything else."""
    if isinstance(timeout, float):
        try:
            return timedelta(seconds=timeout)
        except (ValueError, OverflowError):
            raise ValueError(f"timeout = {timeout}: a timeout is a number of seconds") from None
    if not isinstance(timeout, timedelta):
        raise TypeError(errors.TIMEOUT_TYPE.format(timeout=timeout))
    return timeout
