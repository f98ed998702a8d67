"""Meshes made of a mesh: slices, flattened and unflattened dimensions, and several parts joined.

All of them keep the root mesh, in whose list of ranks their dimensions are distances. Flattening and unflattening make
groups, so every process of the world calls them; slicing and joining are local.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from fake_torch_dist import errors
from fake_torch_dist.mesh.axes import Axis, is_rising, joined, overlap, split
from fake_torch_dist.mesh.line_groups import Override, overrides_of
from fake_torch_dist.mesh.validation import check_flat_name, check_slice, check_unflatten


class Mesh(Protocol):
    """The parts of ``DeviceMesh`` that another mesh is made of."""

    device_type: str
    mesh_dim_names: tuple[str, ...] | None
    _root: Self
    _axes: tuple[Axis, ...]
    _rank_map: list[int]
    _flat: dict[str, Self]
    """Flattened meshes of the root mesh by name."""
    _groups: list[list[Any]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Ranks along each dimension."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""

    def _make_groups(
        self, axes: Sequence[Axis], names: Sequence[str] | None, overrides: Sequence[Override]
    ) -> list[list[Any]]:
        """The groups of all lines along each axis."""

    def _part(
        self, axes: Sequence[Axis], names: Sequence[str] | None, groups: list[list[Any]], device_type: str | None = None
    ) -> Self:
        """A mesh of the same root along ``axes`` with these groups."""


AnyMesh = TypeVar("AnyMesh", bound=Mesh)


def slice_of(mesh: AnyMesh, names: tuple[str, ...]) -> AnyMesh:
    """The part of ``mesh`` along the named dimensions; a root mesh also finds its flattened meshes by name."""
    if mesh.mesh_dim_names is None:
        raise RuntimeError("Cannot slice a DeviceMesh without mesh_dim_names!")
    if names == mesh.mesh_dim_names:
        return mesh
    flat = mesh._flat if mesh == mesh._root else {}
    found = {name: (mesh, axis) for axis, name in enumerate(mesh.mesh_dim_names)}
    found |= {name: (each, 0) for name, each in flat.items() if name not in found}
    check_slice(names, list(found))
    axes = [owner._axes[axis] for owner, axis in map(found.__getitem__, names)]
    if not is_rising(axes):
        raise KeyError(errors.MESH_ORDER.format(names=names))
    if overlap(axes):
        raise RuntimeError(f"Slicing overlapping dim_names {names} is not allowed.")
    groups = [owner._groups[axis] for owner, axis in map(found.__getitem__, names) if owner._groups]
    return mesh._part(axes, names, groups)


def flattened(mesh: AnyMesh, name: str | None, backend_override: Any | None) -> AnyMesh:
    """The mesh of one dimension with the ranks of ``mesh``; the root stores it under its name."""
    if not mesh.mesh_dim_names:
        raise RuntimeError("Cannot flatten a DeviceMesh without mesh_dim_names!")
    name = name or "_".join(mesh.mesh_dim_names)
    if mesh.ndim == 1 and name in mesh.mesh_dim_names:
        return mesh
    axis = joined(mesh._axes)
    check_flat_name(name, mesh._root.mesh_dim_names or (), repr(mesh._root))
    if name in mesh._flat:
        if mesh._flat[name]._axes != (axis,):
            raise ValueError(errors.MESH_FLAT_TWICE.format(name=name))
        return mesh._flat[name]
    overrides = overrides_of(None if backend_override is None else {0: backend_override}, 1)
    groups = mesh._make_groups([axis], [name], overrides)
    mesh._flat[name] = mesh._part([axis], [name], groups, mesh._root.device_type)
    return mesh._flat[name]


def unflattened(
    mesh: AnyMesh,
    dim: int | str,
    sizes: Sequence[int],
    names: Sequence[str],
    backend_override: Mapping[str, Any] | None,
) -> AnyMesh:
    """``mesh`` with dimension ``dim`` cut into ``sizes``, in rows, with a group for each of their lines."""
    index = check_unflatten(dim, sizes, names, mesh.shape, mesh.mesh_dim_names)
    parts = split(mesh._axes[index], sizes)
    if parts is None:
        raise ValueError(f"dim {dim} of {mesh} has no regular parts of {tuple(sizes)}")
    all_names = [*(mesh.mesh_dim_names or ())]
    all_names[index : index + 1] = names
    axes = [*mesh._axes]
    axes[index : index + 1] = parts
    groups = [*mesh._groups]
    if groups:
        overrides = overrides_of(backend_override, len(sizes), names)
        groups[index : index + 1] = mesh._make_groups(parts, names, overrides)
    return mesh._part(axes, all_names, groups)


def concatenated(meshes: Sequence[AnyMesh]) -> AnyMesh:
    """One mesh with the dimensions of all ``meshes``, in this order."""
    first = meshes[0]
    if any(mesh._rank_map != first._rank_map for mesh in meshes):
        raise RuntimeError("Cannot concatenate DeviceMeshes derived from different device meshs")
    axes = [axis for mesh in meshes for axis in mesh._axes]
    if overlap(axes):
        raise RuntimeError(f"Cannot concatenate overlapping meshes: {list(meshes)}")
    names = [name for mesh in meshes for name in mesh.mesh_dim_names or ()]
    return first._part(axes, names, [groups for mesh in meshes for groups in mesh._groups])
