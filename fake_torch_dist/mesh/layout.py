"""``MeshLayout``: the ranks of a mesh, its dimensions, and the place of this process in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fake_torch_dist import errors
from fake_torch_dist.api.registry import get_rank
from fake_torch_dist.core.argument_kinds import whole_number
from fake_torch_dist.mesh.axes import Axis, all_lines, strides


class MeshLayout:
    """The half of ``DeviceMesh`` that needs no groups."""

    device_type: str
    mesh_dim_names: tuple[str, ...] | None
    _axes: tuple[Axis, ...]
    _rank_map: list[int]
    """The global ranks of the root mesh, in rows."""
    _rank: int | None
    """The global rank for which the mesh answers."""

    @cached_property
    def mesh(self) -> npt.NDArray[np.int_]:
        """Global ranks, shape ``shape``, of the part of the root mesh that this process is in. RuntimeError if none."""
        lines = self._lines(self._axes)
        mine = lines if len(lines) == 1 else [line for line in lines if self._rank in line]
        if not mine:
            raise RuntimeError(errors.MESH_WITHOUT_ME)
        return np.array(mine[0], int).reshape(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Ranks along each dimension."""
        return tuple(len(axis) for axis in self._axes)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._axes)

    def size(self, mesh_dim: int | None = None) -> int:
        """Number of ranks, in all or along a dimension."""
        return int(np.prod(self.shape)) if mesh_dim is None else self.shape[self._axis(mesh_dim)]

    def stride(self) -> tuple[Any, ...]:
        """The distance of neighbours along each dimension in the root mesh; () for a dimension of size 1."""
        steps = [strides(axis) for axis in self._axes]
        return tuple(each[0] if len(each) == 1 else each for each in steps)

    def get_rank(self) -> int:
        """The global rank of this process."""
        return get_rank()

    def get_coordinate(self) -> tuple[int, ...] | None:
        """This process's coordinate in the mesh; None outside of it."""
        if self._rank not in self._rank_map:
            return None
        places = np.argwhere(self.mesh == self._rank)
        return tuple(int(index) for index in places[0]) if len(places) else None

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """This process's coordinate along a dimension, which may stay unnamed if there is one; -1 outside of the
        mesh."""
        axis = self._axis(mesh_dim)
        place = self.get_coordinate()
        return -1 if place is None else place[axis]

    def _axis(self, mesh_dim: int | str | None) -> int:
        if mesh_dim is None:
            if self.ndim > 1:
                raise RuntimeError(errors.MESH_DIM_NEEDED.format(ndim=self.ndim))
            return 0
        if isinstance(mesh_dim, str):
            if self.mesh_dim_names is None or mesh_dim not in self.mesh_dim_names:
                raise KeyError(errors.MESH_NO_SUCH_DIM.format(name=mesh_dim, names=self.mesh_dim_names))
            return self.mesh_dim_names.index(mesh_dim)
        mesh_dim = whole_number("mesh_dim", mesh_dim, "int or str")
        if not -self.ndim <= mesh_dim < self.ndim:
            raise IndexError(f"mesh_dim {mesh_dim} of a mesh of {self.ndim} dimensions")
        return mesh_dim % self.ndim

    def _lines(self, axes: Sequence[Axis]) -> list[list[int]]:
        """The global ranks of every part of the root mesh along ``axes``."""
        return [[self._rank_map[index] for index in line] for line in all_lines(axes, len(self._rank_map))]

    def __repr__(self) -> str:
        sizes: object = self.shape
        if self.mesh_dim_names:
            named = zip(self.mesh_dim_names, self.shape, strict=True)
            sizes = f"({', '.join(f'{name}={size}' for name, size in named)})"
        detail = f", Mesh: {self.mesh.tolist()}" if os.environ.get("TORCH_DISTRIBUTED_DEBUG") == "DETAIL" else ""
        return f"DeviceMesh({sizes}, '{self.device_type}', stride={self.stride()}{detail})"

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, MeshLayout) and self._key() == other._key())

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.device_type, self._axes, tuple(self._rank_map), self.mesh_dim_names)
