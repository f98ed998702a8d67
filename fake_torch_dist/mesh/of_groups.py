"""Meshes of groups that are there already: torch's ``DeviceMesh.from_group``. It makes no group and asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fake_torch_dist.api.registry import get_process_group_ranks
from fake_torch_dist.core.process_group import ProcessGroup

if TYPE_CHECKING:
    from fake_torch_dist.device_mesh import DeviceMesh


def mesh_of_groups(
    mesh_class: type[DeviceMesh],
    group: ProcessGroup | Sequence[ProcessGroup],
    device_type: str,
    mesh: npt.ArrayLike | None,
    mesh_dim_names: tuple[str, ...] | None,
) -> DeviceMesh:
    """A mesh whose dimension k is ``group[k]``, or of one dimension if there is one group.

    ValueError, torch's, without a group; for one group and a ``mesh`` of other ranks; for several without ``mesh`` and
    ``mesh_dim_names``, or with a mesh of another number of dimensions.
    """
    if isinstance(group, ProcessGroup):
        ranks = get_process_group_ranks(group)
        if mesh is not None and np.asarray(mesh).tolist() != ranks:
            raise ValueError(f"Invalid mesh {mesh} for ProcessGroup with ranks {ranks}")
        groups, array = [group], np.array(ranks)
    else:
        groups = list(group)
        if not groups:
            raise ValueError("Expects at least one ProcessGroup to be passed")
        if mesh is None:
            raise ValueError("Must pass mesh if passing multiple ProcessGroups")
        if mesh_dim_names is None:
            raise ValueError("Must pass mesh_dim_names if passing multiple ProcessGroups")
        array = np.array(mesh, int)
        if array.ndim != len(groups):
            raise ValueError(
                f"Expects mesh with ndim equal to number of ProcessGroups but got mesh {array.tolist()} and "
                f"{len(groups)} ProcessGroups"
            )
    made = mesh_class(device_type, array, mesh_dim_names=mesh_dim_names, _init_backend=False)
    made._groups = [[each] for each in groups]
    return made
