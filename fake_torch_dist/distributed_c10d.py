"""torch's ``torch.distributed.distributed_c10d``: the public names, and those private ones that scripts use.

A private name that is not here raises an AttributeError that says so, as a public one does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import fake_torch_dist
from fake_torch_dist import errors, public
from fake_torch_dist.api.old_names import _all_gather_base as _all_gather_base
from fake_torch_dist.api.old_names import _reduce_scatter_base as _reduce_scatter_base
from fake_torch_dist.api.registry import default_group, find_group, get_rank, is_non_member
from fake_torch_dist.constants import default_pg_nccl_timeout as default_pg_nccl_timeout
from fake_torch_dist.core.collective_options import AllgatherOptions as AllgatherOptions
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.torch_names import TORCH_VERSION

if TYPE_CHECKING:
    from fake_torch_dist.public import *  # noqa: F403 - every public name, for type checkers alone
    from fake_torch_dist.stores import Store

__all__ = ["ProcessGroup", *(name for name in public.__all__ if name != "ProcessGroup")]


def _get_default_group() -> ProcessGroup:
    """The default group; ValueError, torch's, before ``init_process_group``."""
    return default_group()


def _get_default_store() -> Store:
    """The store in which the ranks met. RuntimeError where they met in none."""
    return default_group().get_group_store()


def _get_process_group_store(pg: ProcessGroup) -> Store:
    """As ``_get_default_store``: groups share one store."""
    return find_group(pg).get_group_store()


def _resolve_process_group(group_name: str) -> ProcessGroup:
    """The group of this name. ValueError, torch's, if there is none."""
    return find_group(group_name)


def _rank_not_in_group(group: ProcessGroup | None) -> bool:
    """True if this process is no member of ``group``."""
    return group is not None and get_rank(group) == -1


def _set_pg_timeout(timeout: timedelta | float, group: ProcessGroup | None = None) -> None:
    """Change how long later collectives of ``group`` wait for its members. ValueError, torch's, outside of it."""
    if group is not None and is_non_member(group):
        raise ValueError(errors.INVALID_GROUP)
    find_group(group).set_timeout(timeout)


def __getattr__(name: str) -> Any:
    if name in public.__all__:
        return getattr(fake_torch_dist, name)
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise AttributeError(
        f"{__name__} has no {name!r}. It has the public names of torch {TORCH_VERSION}'s module that this package "
        "has, and a few private ones; its file lists them"
    )
