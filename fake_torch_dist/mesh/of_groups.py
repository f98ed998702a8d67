"""Arguments of torch's ``DeviceMesh.from_group``: groups that exist already, and the ranks of the mesh they form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fake_torch_dist.api.registry import get_process_group_ranks
from fake_torch_dist.core.argument_kinds import wrong_kind
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.mesh.validation import rank_array


def groups_and_ranks(
    group: ProcessGroup | Sequence[ProcessGroup], mesh: npt.ArrayLike | None, mesh_dim_names: tuple[str, ...] | None
) -> tuple[list[ProcessGroup], npt.NDArray[Any]]:
    """The group of each dimension, and the array of global ranks.

    ValueError, torch's, without a group; for one group and a ``mesh`` of other ranks; for several without ``mesh`` and
    ``mesh_dim_names``, or with a mesh of another number of dimensions.
    """
    if isinstance(group, ProcessGroup):
        ranks = get_process_group_ranks(group)
        if mesh is not None and np.asarray(mesh).tolist() != ranks:
            raise ValueError(f"Invalid mesh {mesh} for ProcessGroup with ranks {ranks}")
        return [group], np.array(ranks)
    if not isinstance(group, list | tuple) or not all(isinstance(each, ProcessGroup) for each in group):
        raise wrong_kind("group", "ProcessGroup or List[ProcessGroup]", group)
    groups = list(group)
    if not groups:
        raise ValueError("Expects at least one ProcessGroup to be passed")
    if mesh is None:
        raise ValueError("Must pass mesh if passing multiple ProcessGroups")
    if mesh_dim_names is None:
        raise ValueError("Must pass mesh_dim_names if passing multiple ProcessGroups")
    array = rank_array(mesh)
    if array.ndim != len(groups):
        raise ValueError(
            f"Expects mesh with ndim equal to number of ProcessGroups but got mesh {array.tolist()} and "
            f"{len(groups)} ProcessGroups"
        )
    return groups, array
