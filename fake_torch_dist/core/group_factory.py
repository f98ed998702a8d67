"""``GroupFactory``: the parts of a world that decide how its groups are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fake_torch_dist.core.group_members import GroupLabels
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.runner import Runner
from fake_torch_dist.core.transport import Transport


class GroupFactory(Protocol):
    """Makes the groups of one world. Each kind of world has one, beside its transport."""

    @property
    def runner(self) -> Runner:
        """Runs the collectives of the groups."""

    def plays_any(self, ranks: Sequence[int]) -> bool:
        """True if this process plays one of these global ranks."""

    def transport(self, ranks: Sequence[int], number: int, ranks_per_node: int) -> Transport:
        """A transport between ``ranks``, in group order, whose messages carry ``number``."""

    def group(self, ranks: Sequence[int], number: int, ranks_per_node: int, labels: GroupLabels) -> ProcessGroup:
        """A group of ``ranks``, of which this process plays at least one."""

    def dry_run(self) -> GroupFactory:
        """The factory of groups of backend "fake" in this world. ValueError in the virtual world."""
