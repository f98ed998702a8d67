"""Arguments of device meshes: shapes, names and ranks, with torch's errors where it has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import text, whole_numbers, wrong_kind


def rank_array(mesh: npt.ArrayLike) -> npt.NDArray[np.int_]:
    """The ranks of a mesh as an array of their own. TypeError for anything but numbers in rows of one length."""
    try:
        return np.array(mesh, int)
    except (TypeError, ValueError):
        raise TypeError(f"mesh is an array of global ranks such as [[0, 1], [2, 3]], not {mesh!r}") from None


def shape_of(shape: object) -> tuple[int, ...]:
    """The shape of a mesh, given as a list of sizes or as one size. TypeError for anything but whole numbers."""
    sizes = shape if isinstance(shape, Iterable) and not isinstance(shape, str | bytes | Mapping) else (shape,)
    try:
        return tuple(whole_numbers("mesh_shape", sizes))
    except TypeError:
        raise TypeError(
            f"mesh_shape is a tuple of whole numbers such as (2, 4), one per dimension, not {shape!r}"
        ) from None


def names_of(names: Sequence[str] | str) -> tuple[str, ...]:
    """The names of dimensions; one name is a tuple of one. TypeError for anything else."""
    given = (names,) if isinstance(names, str) else names
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise wrong_kind("mesh_dim_names", 'tuple of str, such as ("dp", "tp")', names)
    return tuple(given)


def check_names(shape: Sequence[int], names: Sequence[str] | None) -> None:
    """Raise RuntimeError, torch's, unless there is one name per dimension and none twice."""
    if names is None:
        return
    if len(set(names)) != len(names):
        raise RuntimeError(f"Each mesh_dim_name must be unique. Found repeated mesh_dim_name in mesh_dim_names {names}")
    if len(shape) != len(names):
        raise RuntimeError(
            "mesh_shape and mesh_dim_names should have same length! "
            f"Found len(mesh_dim_names): {len(names)} and len(mesh_shape):{len(shape)}."
        )


def check_device_type(device_type: str) -> None:
    """Raise RuntimeError, torch's, for a device type with an index."""
    if text("device_type", device_type) and not device_type.isalpha():
        raise RuntimeError(
            f"Device type with index is not supported but got {device_type}. "
            "If you maintained a 'torch.device' object, it's recommended to pass in 'device.type'."
        )


def check_mesh_ranks(ranks: Sequence[int], world_size: int) -> None:
    """Raise RuntimeError, torch's, for more ranks than there are; ValueError for a rank that is repeated or outside the
    world."""
    if len(ranks) > world_size:
        raise RuntimeError(errors.MESH_TOO_BIG.format(size=world_size, found=len(ranks)))
    if len(set(ranks)) < len(ranks) or min(ranks, default=0) < 0 or max(ranks, default=0) >= world_size:
        raise ValueError(f"a mesh holds distinct ranks from 0 to {world_size - 1}, got {list(ranks)}")


def check_slice(names: Sequence[str], valid: Sequence[str]) -> None:
    """Raise KeyError, torch's, for an unknown name."""
    if not set(names) <= set(valid):
        raise KeyError(f"Invalid mesh_dim_names {tuple(names)} specified. Valid mesh_dim_names are {list(valid)}.")


def check_flat_name(name: str, taken: Sequence[str], root: str) -> None:
    """Raise ValueError, torch's, if the root mesh has a dimension of this name."""
    if name in taken:
        raise ValueError(
            f"{name} already exists for submesh of the {root}. The mesh_dim_names of submesh and flattened mesh are "
            f"{tuple(taken)}. Please specify another valid mesh_dim_name."
        )


def check_unflatten(
    dim: int | str, sizes: Sequence[int], new_names: Sequence[str], shape: Sequence[int], names: Sequence[str] | None
) -> int:
    """The index of ``dim``. ValueError or RuntimeError, torch's, if it cannot become dimensions of ``sizes``."""
    if names is None:
        raise RuntimeError("Cannot unflatten a DeviceMesh without mesh_dim_names!")
    if isinstance(dim, str):
        if dim not in names:
            raise ValueError(f"dim {dim} specified in `_unflatten` is not in {tuple(names)}")
        index = list(names).index(dim)
    elif -len(shape) <= dim < len(shape):
        index = dim % len(shape)
    else:
        raise ValueError(f"dim {dim} specified in `_unflatten` is out of range {len(shape)}")
    if len(sizes) != len(new_names):
        raise RuntimeError("mesh_dim_names must have same length as mesh_sizes in _unflatten!")
    if prod(sizes) != shape[index]:
        raise ValueError(
            f"The product of mesh_sizes={tuple(sizes)} is {prod(sizes)}, but the original dimension at dim={index} has "
            f"size {shape[index]}. These must be equal for unflatten to work correctly."
        )
    return index
