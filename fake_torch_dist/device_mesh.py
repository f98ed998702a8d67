"""``DeviceMesh``: the ranks of a world along named dimensions, with a process group for every line through the mesh.

Every process of the world makes the mesh, in the mesh or not, since making groups takes all. In the virtual world the
mesh speaks as global rank 0: ``get_group`` is the group of the line through it, ``get_coordinate`` is its place;
``groups_along`` has the groups of all lines.

What it does not do: devices (``device_type`` is a label), ``backend_override``, ``from_group``, flattening.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import errors
from .group_registry import default_group, get_rank, is_initialized, is_non_member
from .new_groups import new_group
from .process_group import ProcessGroup
from .world import init_process_group


class DeviceMesh:
    """An array of global ranks, shape ``shape``, whose dimensions may have names; each of its lines is a group."""

    def __init__(
        self,
        device_type: str,
        mesh: npt.ArrayLike | None = None,
        *,
        mesh_dim_names: tuple[str, ...] | None = None,
        backend_override: Any | None = None,
        _init_backend: bool = True,
        _rank: int | None = None,
    ) -> None:
        """``mesh`` is an array of distinct global ranks.

        Errors: RuntimeError for a mesh that is bigger than the world or whose names don't fit; ValueError without a
        mesh or for ranks that are not there.
        """
        if mesh is None:
            raise ValueError("Must provide either mesh or _layout")  # torch's words
        if backend_override is not None:
            raise NotImplementedError("backend_override: gloo and nccl are the same transport here; leave it out")
        self.device_type = device_type
        self.mesh = np.array(mesh, int)
        """Global ranks, shape ``shape``."""
        self.mesh_dim_names = None if mesh_dim_names is None else tuple(mesh_dim_names)
        _check_names(self.mesh.shape, self.mesh_dim_names)
        self._strides = tuple(int(np.prod(self.mesh.shape[axis + 1 :])) for axis in range(self.mesh.ndim))
        self._groups: list[list[Any]] = []
        self._rank = _rank
        if _init_backend:
            self._make_groups()

    def _make_groups(self) -> None:
        if not is_initialized():
            init_process_group()
        world = default_group()
        if self.mesh.size > world.size():
            raise RuntimeError(errors.MESH_TOO_BIG.format(size=world.size(), found=self.mesh.size))
        distinct = np.unique(self.mesh).size == self.mesh.size
        if not distinct or self.mesh.min(initial=0) < 0 or self.mesh.max() >= world.size():
            raise ValueError(f"a mesh holds distinct ranks from 0 to {world.size() - 1}, got {self.mesh.tolist()}")
        self._rank = get_rank()
        for axis in range(self.mesh.ndim):
            lines = np.moveaxis(self.mesh, axis, -1).reshape(-1, self.mesh.shape[axis]).tolist()
            if lines == [list(world.ranks)]:
                self._groups.append([world])
            else:
                name = f"mesh_{self.mesh_dim_names[axis] if self.mesh_dim_names else f'dim_{axis}'}"
                self._groups.append([new_group(line, group_desc=name, sort_ranks=False) for line in lines])

    # -- what it tells ------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Ranks along each dimension."""
        return self.mesh.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.mesh.ndim

    def size(self, mesh_dim: int | None = None) -> int:
        """Number of ranks, in all or along a dimension."""
        return int(self.mesh.size if mesh_dim is None else self.mesh.shape[mesh_dim])

    def stride(self) -> tuple[int, ...]:
        """How far apart neighbours along each dimension are in the mesh that this one was cut from."""
        return self._strides

    def get_rank(self) -> int:
        """The global rank of this process."""
        return get_rank()

    def get_coordinate(self) -> tuple[int, ...] | None:
        """This process's place in the mesh; None outside of it."""
        places = np.argwhere(self.mesh == self._rank)
        return tuple(int(index) for index in places[0]) if len(places) else None

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """This process's place along a dimension, which may stay unnamed if there is one; -1 outside of the mesh."""
        axis = self._axis(mesh_dim)
        place = self.get_coordinate()
        return -1 if place is None else place[axis]

    # -- groups -------------------------------------------------------------------------------------------------------

    def get_group(self, mesh_dim: int | str | None = None) -> ProcessGroup:
        """The group of the line through this process along a dimension, which may stay unnamed if there is one.

        RuntimeError for several dimensions and no name, or for a mesh without groups; KeyError for an unknown name.
        """
        axis = self._axis(mesh_dim)
        if not self._groups:
            raise RuntimeError("DeviceMesh process groups not initialized!")
        groups = self._groups[axis]
        mine = (made for made in groups if not is_non_member(made) and self._rank in made.ranks)
        found = next(mine, groups[0])
        return found  # type: ignore[no-any-return]

    def get_all_groups(self) -> list[ProcessGroup]:
        """``get_group`` for each dimension."""
        return [self.get_group(axis) for axis in range(self.ndim)]

    def groups_along(self, mesh_dim: int | str | None = None) -> list[Any]:
        """The groups of all lines along a dimension; NON_GROUP_MEMBER where this process is in none. Not torch's."""
        return list(self._groups[self._axis(mesh_dim)])

    # -- parts --------------------------------------------------------------------------------------------------------

    def __getitem__(self, mesh_dim_names: str | tuple[str, ...]) -> DeviceMesh:
        """The part of the mesh along the named dimensions that goes through this process; its groups are this one's.

        RuntimeError without names, KeyError for a name that is not there.
        """
        if self.mesh_dim_names is None:
            raise RuntimeError("Cannot slice a DeviceMesh without mesh_dim_names!")
        names = (mesh_dim_names,) if isinstance(mesh_dim_names, str) else tuple(mesh_dim_names)
        axes = [self._axis(name) for name in names]
        place = self.get_coordinate() or (0,) * self.ndim
        cut = self.mesh[tuple(slice(None) if axis in axes else place[axis] for axis in range(self.ndim))]
        kept = sorted(axes)
        part = DeviceMesh(
            self.device_type,
            cut.transpose([kept.index(axis) for axis in axes]),
            mesh_dim_names=names,
            _init_backend=False,
            _rank=self._rank,
        )
        part._strides = tuple(self._strides[axis] for axis in axes)
        part._groups = [self._groups[axis] for axis in axes] if self._groups else []
        return part

    def _axis(self, mesh_dim: int | str | None) -> int:
        if mesh_dim is None:
            if self.ndim > 1:
                raise RuntimeError(errors.MESH_DIM_NEEDED.format(ndim=self.ndim))
            return 0
        if isinstance(mesh_dim, str):
            if self.mesh_dim_names is None or mesh_dim not in self.mesh_dim_names:
                names = list(self.mesh_dim_names or ())
                raise KeyError(f"Invalid mesh_dim_name {mesh_dim!r} specified. Valid mesh_dim_names are {names}.")
            return self.mesh_dim_names.index(mesh_dim)
        if not -self.ndim <= mesh_dim < self.ndim:
            raise IndexError(f"mesh_dim {mesh_dim} of a mesh of {self.ndim} dimensions")
        return mesh_dim % self.ndim

    # -- manners ------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        sizes: object = self.shape
        if self.mesh_dim_names:
            named = zip(self.mesh_dim_names, self.shape, strict=True)
            sizes = f"({', '.join(f'{name}={size}' for name, size in named)})"
        detail = f", Mesh: {self.mesh.tolist()}" if os.environ.get("TORCH_DISTRIBUTED_DEBUG") == "DETAIL" else ""
        return f"DeviceMesh({sizes}, '{self.device_type}', stride={self._strides}{detail})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceMesh) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.device_type, self.shape, tuple(self.mesh.ravel().tolist()), self.mesh_dim_names)


def init_device_mesh(
    device_type: str,
    mesh_shape: tuple[int, ...],
    *,
    mesh_dim_names: tuple[str, ...] | None = None,
    backend_override: Any | None = None,
) -> DeviceMesh:
    """A mesh of the ranks 0, 1, 2, ... in rows of ``mesh_shape``; makes the default group if there is none.

    Errors: RuntimeError if names and shape don't fit, for a device type with an index, or for more ranks than there
    are.
    """
    _check_names(mesh_shape, mesh_dim_names)
    if device_type and not device_type.isalpha():
        raise RuntimeError(f"Device type with index is not supported but got {device_type}. ")
    ranks = np.arange(int(np.prod(mesh_shape))).reshape(mesh_shape)
    return DeviceMesh(device_type, ranks, mesh_dim_names=mesh_dim_names, backend_override=backend_override)


def _check_names(shape: Sequence[int], names: Sequence[str] | None) -> None:
    if names is None:
        return
    if len(set(names)) != len(names):
        raise RuntimeError(f"Each mesh_dim_name must be unique. Found repeated mesh_dim_name in mesh_dim_names {names}")
    if len(shape) != len(names):
        raise RuntimeError(
            "mesh_shape and mesh_dim_names should have same length! "
            f"Found len(mesh_dim_names): {len(names)} and len(mesh_shape):{len(shape)}."
        )
