"""``ProcessGroups``: makes the groups of a world in which each rank is a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fake_torch_dist.core.group_members import GroupLabels
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.transports.engine import Engine
from fake_torch_dist.transports.processes import ProcessTransport

if TYPE_CHECKING:
    from fake_torch_dist.core.group_factory import GroupFactory


class ProcessGroups:
    """Makes the groups of a world of processes. ``reads_memory``: all of them can read each other's memory."""

    def __init__(self, engine: Engine, *, reads_memory: bool) -> None:
        self.runner = engine
        self._reads_memory = reads_memory

    def plays_any(self, ranks: Sequence[int]) -> bool:
        """True if this process's rank is one of ``ranks``."""
        return self.runner.peers.rank in ranks

    def transport(self, ranks: Sequence[int], number: int, ranks_per_node: int) -> ProcessTransport:
        """A transport whose members read each other's memory if all are on one host."""
        reads_memory = self._reads_memory and self.runner.peers.same_host(ranks)
        return ProcessTransport(self.runner, ranks, number, ranks_per_node, reads_memory=reads_memory)

    def group(self, ranks: Sequence[int], number: int, ranks_per_node: int, labels: GroupLabels) -> ProcessGroup:
        """A group of ``ranks``, of which this process plays one."""
        transport = self.transport(ranks, number, ranks_per_node)
        return ProcessGroup(
            ranks,
            transport,
            self.runner,
            played=[transport.me],
            rows=[0],
            num_local=1,
            labels=labels,
            ranks_per_node=ranks_per_node,
            number=number,
        )

    def dry_run(self) -> GroupFactory:
        """The factory of groups that send nothing, with this process's rank."""
        from fake_torch_dist.transports.dry_run import DryRunGroups

        return DryRunGroups(self.runner.peers.rank)
