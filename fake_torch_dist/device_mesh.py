"""``DeviceMesh``: the ranks of a world along named dimensions, with a process group for every line through the mesh.

Every process of the world makes the mesh, in the mesh or not, since making groups takes all. In the virtual world the
mesh answers for global rank 0: ``get_group`` is the group of the line through it, ``get_coordinate`` its coordinate;
``groups_along`` has the groups of all lines.

What it does not do: devices (``device_type`` is a label), pickling, being the current mesh of a ``with`` block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fake_torch_dist import errors
from fake_torch_dist.api.registry import default_group, get_rank, is_initialized, is_non_member
from fake_torch_dist.api.world import init_process_group
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.mesh.axes import Axis, axes_of_shape
from fake_torch_dist.mesh.derived import concatenated, flattened, slice_of, unflattened
from fake_torch_dist.mesh.layout import MeshLayout
from fake_torch_dist.mesh.line_groups import NO_OVERRIDE, Override, groups_of_lines, overrides_of
from fake_torch_dist.mesh.of_groups import groups_and_ranks
from fake_torch_dist.mesh.validation import (
    check_device_type,
    check_mesh_ranks,
    check_names,
    names_of,
    rank_array,
    shape_of,
)
from fake_torch_dist.torch_names import no_such_attribute


class DeviceMesh(MeshLayout):
    """An array of global ranks, shape ``shape``, whose dimensions may have names; each of its lines is a group."""

    def __init__(
        self,
        device_type: str,
        mesh: npt.ArrayLike | None = None,
        *,
        mesh_dim_names: tuple[str, ...] | None = None,
        backend_override: Sequence[Override] | None = None,
        _init_backend: bool = True,
        _rank: int | None = None,
        _root_mesh: DeviceMesh | None = None,
        _axes: Sequence[Axis] | None = None,
    ) -> None:
        """``mesh`` is an array of distinct global ranks; ``backend_override`` a (backend, options) per dimension.

        Errors: RuntimeError for a mesh that is bigger than the world or whose names don't fit; TypeError without a
        mesh; ValueError for ranks outside of the world and for overrides of another number of dimensions.
        """
        self.device_type = device_type
        self.mesh_dim_names = None if mesh_dim_names is None else names_of(mesh_dim_names)
        self._root = self if _root_mesh is None else _root_mesh
        if _root_mesh is None:
            if mesh is None:
                raise TypeError("The mesh argument is required: an array of global ranks")
            array = rank_array(mesh)
            check_names(array.shape, self.mesh_dim_names)
            self._axes = axes_of_shape(array.shape)
            self._rank_map = array.ravel().tolist()
            self._flat: dict[str, DeviceMesh] = {}
        else:
            assert _axes is not None
            self._axes, self._rank_map, self._flat = tuple(_axes), _root_mesh._rank_map, _root_mesh._flat
        overrides = [NO_OVERRIDE] * self.ndim if backend_override is None else list(backend_override)
        if len(overrides) != self.ndim:
            raise ValueError(errors.MESH_OVERRIDES.format(found=len(overrides), ndim=self.ndim))
        self._groups: list[list[Any]] = []
        self._rank = _rank
        if _init_backend:
            if not is_initialized():
                init_process_group()
            check_mesh_ranks(self._rank_map, default_group().size())
            self._groups = self._make_groups(self._axes, self.mesh_dim_names, overrides)
        if self._rank is None and is_initialized():
            self._rank = get_rank()

    def _make_groups(
        self, axes: Sequence[Axis], names: Sequence[str] | None, overrides: Sequence[Override]
    ) -> list[list[Any]]:
        named = names or [f"dim_{index}" for index in range(len(axes))]
        return [
            groups_of_lines(self._lines([axis]), name, override)
            for axis, name, override in zip(axes, named, overrides, strict=True)
        ]

    def _part(
        self, axes: Sequence[Axis], names: Sequence[str] | None, groups: list[list[Any]], device_type: str | None = None
    ) -> DeviceMesh:
        """A mesh of the same root along ``axes``, with these groups."""
        part = DeviceMesh(
            device_type or self.device_type,
            mesh_dim_names=None if names is None else tuple(names),
            _init_backend=False,
            _rank=self._rank,
            _root_mesh=self._root,
            _axes=axes,
        )
        part._groups = groups
        return part

    # -- groups --------------------------------------------------------------------------------------------------------

    def get_group(self, mesh_dim: int | str | None = None) -> ProcessGroup:
        """The group of the line through this process along a dimension, which may stay unnamed if there is one.

        A name of a flattened mesh of the same root is taken, too.
        RuntimeError for several dimensions and no name, or for a mesh without groups; KeyError for an unknown name.
        """
        if isinstance(mesh_dim, str) and mesh_dim in self._flat:
            return self._flat[mesh_dim].get_group()
        axis = self._axis(mesh_dim)
        if not self._groups:
            raise RuntimeError("DeviceMesh process groups not initialized!")
        groups = self._groups[axis]
        mine = (made for made in groups if not is_non_member(made) and self._rank in made.ranks)
        found: ProcessGroup = next(mine, groups[0])
        return found

    def get_all_groups(self) -> list[ProcessGroup]:
        """``get_group`` for each dimension."""
        return [self.get_group(axis) for axis in range(self.ndim)]

    def groups_along(self, mesh_dim: int | str | None = None) -> list[Any]:
        """The groups of all lines along a dimension; NON_GROUP_MEMBER where this process is in none. Not torch's."""
        return list(self._groups[self._axis(mesh_dim)])

    # -- other meshes of the same root (mesh.derived) ------------------------------------------------------------------

    def __getitem__(self, mesh_dim_names: str | tuple[str, ...]) -> DeviceMesh:
        """The part of the mesh along the named dimensions that goes through this process; its groups are this one's.

        A root mesh also finds its flattened meshes by name. RuntimeError without names or for dimensions that overlap,
        KeyError for an unknown name and for an order that is not the root mesh's.
        """
        return slice_of(self, names_of(mesh_dim_names))

    def _flatten(self, mesh_dim_name: str | None = None, backend_override: Any | None = None) -> DeviceMesh:
        """The mesh of one dimension with the ranks of this one, by default named by the names here, joined with "_".

        Every process of the world calls it. The same ranks under the same name give the mesh made before.
        Errors: RuntimeError without names; ValueError for a name that stands for other ranks in the root mesh.
        """
        return flattened(self, mesh_dim_name, backend_override)

    def _unflatten(
        self,
        dim: int | str,
        mesh_sizes: tuple[int, ...],
        mesh_dim_names: tuple[str, ...],
        backend_override: Mapping[str, Any] | None = None,
    ) -> DeviceMesh:
        """This mesh with dimension ``dim`` cut into ``mesh_sizes``, in rows; every process of the world calls it.

        Errors: ValueError for an unknown dimension or one of another size, RuntimeError for names that don't fit.
        """
        return unflattened(self, dim, mesh_sizes, mesh_dim_names, backend_override)

    @staticmethod
    def from_group(
        group: ProcessGroup | list[ProcessGroup],
        device_type: str,
        mesh: npt.ArrayLike | None = None,
        *,
        mesh_dim_names: tuple[str, ...] | None = None,
    ) -> DeviceMesh:
        """A mesh of groups that exist already, one per dimension. Errors: ValueError of ``groups_and_ranks``."""
        groups, ranks = groups_and_ranks(group, mesh, mesh_dim_names)
        made = DeviceMesh(device_type, ranks, mesh_dim_names=mesh_dim_names, _init_backend=False)
        made._groups = [[each] for each in groups]
        return made

    @staticmethod
    def _concatenate(device_mesh_list: list[DeviceMesh]) -> DeviceMesh:
        """One mesh with the dimensions of all, in this order. RuntimeError if the roots differ or the ranks overlap."""
        return concatenated(device_mesh_list)

    def _get_root_mesh(self) -> DeviceMesh:
        """The mesh that this one was cut, flattened or unflattened from; itself if from none."""
        return self._root

    def __getattr__(self, name: str) -> NoReturn:
        raise no_such_attribute("DeviceMesh", name)


def init_device_mesh(
    device_type: str,
    mesh_shape: tuple[int, ...],
    *,
    mesh_dim_names: tuple[str, ...] | None = None,
    backend_override: dict[int | str, Any] | None = None,
) -> DeviceMesh:
    """A mesh of the ranks 0, 1, 2, ... in rows of ``mesh_shape``; makes the default group if there is none.

    ``backend_override`` names a backend, options (``_timeout``) or both for some dimensions, by index or name.
    Errors: RuntimeError if names, shape and overrides don't fit, for a device type with an index, or for more ranks
    than there are.
    """
    sizes = shape_of(mesh_shape)
    mesh_dim_names = None if mesh_dim_names is None else names_of(mesh_dim_names)
    check_names(sizes, mesh_dim_names)
    overrides = None
    if backend_override is not None:
        overrides = overrides_of(backend_override, len(sizes), mesh_dim_names)
    check_device_type(device_type)
    ranks = np.arange(prod(sizes)).reshape(sizes)
    return DeviceMesh(device_type, ranks, mesh_dim_names=mesh_dim_names, backend_override=overrides)
