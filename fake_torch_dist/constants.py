"""torch's ``torch.distributed.constants``: the default timeouts of groups."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fake_torch_dist.api.group_arguments import default_timeout

default_pg_timeout: Final[timedelta] = default_timeout("gloo")
default_pg_nccl_timeout: Final[timedelta] = default_timeout("nccl")

__all__ = ["default_pg_nccl_timeout", "default_pg_timeout"]
