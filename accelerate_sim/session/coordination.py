"""``Coordination``: rank 0 of a job of many processes starts the runs of the others, and ends them.

Before each run all ranks join the process group, and rank 0 sends a ``StartMessage`` with config, number and clock. So
one process reads the file, makes the random choices and prints the errors. If rank 0 stops early it sends its exit
code, so that the other ranks exit with the same code and print no errors about a lost peer. After a signal it announces
its end before it saves, and the other ranks, which the signal has reached too, exit after it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from accelerate_sim.process.placement import Placement
from accelerate_sim.process.signals import ENDING
from accelerate_sim.session.job_end import JobEnd
from accelerate_sim.session.start_message import StartMessage
from fake_torch_dist.nccl import log as nccl_log
from fake_torch_dist.nccl.communicator import Versions

if TYPE_CHECKING:
    from fake_torch_dist.core.reduce_op import ReduceOp
    from fake_torch_dist.core.reduction import Array

RUN_TIMEOUT = timedelta(days=20)
"""Timeout of collectives after the first meeting. A run may be stopped for long; epoll's largest timeout is 24 days."""
SIGNALLED = frozenset(128 + number for number in ENDING)
"""Exit codes after signals, which a launcher sends to all ranks."""


class Coordination:
    """The link of this process to the other processes of the job."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.end = JobEnd(placement)
        self._met_before = False
        self._has_sent_last = False
        self.pids: tuple[int, ...] = ()
        """Process ids of all ranks, in rank order; empty unless the run is published."""

    def check_world(self, planned: int) -> None:
        """Raise ValueError if a run is planned for another number of ranks than the job has."""
        if planned != self.placement.world_size:
            raise ValueError(
                f"the run is planned for {planned} ranks, but the launcher has started {self.placement.world_size}: "
                f"set cluster.nodes = {self.placement.num_nodes} and "
                f"cluster.gpus_per_node = {self.placement.local_world_size}, or start as many"
            )

    def meet(self) -> None:
        """Join the process group, unless this process is in it. Raises fake_torch_dist's errors."""
        import fake_torch_dist as dist

        if dist.is_initialized():
            return
        # The first meeting has torch's timeout. Between two runs rank 0 may wait for as long as the clock says.
        dist.init_process_group(backend="nccl", timeout=RUN_TIMEOUT if self._met_before else None)
        self._met_before = True
        world = dist.group.WORLD
        assert world is not None
        world.set_timeout(RUN_TIMEOUT)

    def send(self, message: StartMessage) -> None:
        """In rank 0: send a message to the other ranks."""
        self._exchange(message)
        self._has_sent_last = message.is_last

    def receive(self) -> StartMessage:
        """In the other ranks: wait for the message of rank 0."""
        return self._exchange(None)

    def tell(self, data: bytes) -> bytes:
        """Send rank 0's ``data`` to all ranks, which all call this. Returns it."""
        return _from_main(data)

    def _exchange(self, message: StartMessage | None) -> StartMessage:
        nccl_log.delay()
        self.meet()
        agreed = StartMessage.of(_from_main(message.json() if message else b""))
        nccl_log.print_delayed(_versions(agreed, self.placement.ranks[0]))
        if agreed.config and agreed.config["run"]["publish"]:
            self.pids = self.gathered(os.getpid())
        return agreed

    def gathered(self, mine: int) -> tuple[int, ...]:
        """The number that each rank's process has given, in rank order; all call it."""
        numbers = _gathered(mine, self.placement.num_processes)
        return tuple(number for number in numbers for _ in self.placement.ranks)

    def folded(self, shards: Array, op: ReduceOp) -> Array:
        """The reduction over all ranks of one number each, of which ``shards`` has those of this process's ranks.

        Its bits are those of as many processes: shards are folded in rank order, node by node.
        """
        import numpy as np

        import fake_torch_dist as dist
        from fake_torch_dist.core.reduction import UFUNCS, after, fold_rows, fold_world

        if self.placement.plays_node:
            total = np.array(fold_rows(shards, UFUNCS[op.name]))
            dist.all_reduce(total, op=dist.ReduceOp.SUM)
            return after(total, op, self.placement.world_size)
        of_all = np.empty(self.placement.world_size, shards.dtype)
        dist.all_gather_single(of_all, np.ascontiguousarray(shards))
        return fold_world(of_all, op, self.placement.local_world_size)

    def gathered_hosts(self) -> tuple[int, ...]:
        """A number for the host of each rank, equal for ranks of one host; all ranks call it."""
        return self.gathered(host_number())

    # --- The end --------------------------------------------------------------------------------

    def dismiss(self, exit_code: int) -> None:
        """In rank 0 before it exits: send the exit code to the other ranks, in a run or as a last message."""
        import fake_torch_dist as dist

        with suppress(dist.DistError):
            if dist.is_initialized():
                self.end.tell(exit_code)
                dist.destroy_process_group()
            elif not self._has_sent_last and exit_code not in SIGNALLED:
                self.send(StartMessage(exit_code=exit_code))
                dist.destroy_process_group()

    def is_peer_failure(self, error: Exception) -> bool:
        """True for the error of a collective: another rank is lost, late, or in another collective."""
        from fake_torch_dist.errors import DistError

        return isinstance(error, DistError)


def _from_main(data: bytes) -> bytes:
    """Broadcast rank 0's ``data`` to all ranks."""
    import numpy as np

    import fake_torch_dist as dist

    size = np.array([len(data)])
    dist.broadcast(size, src=0)
    if not size[0]:
        return b""
    held = np.frombuffer(data, np.uint8).copy() if data else np.empty(size[0], np.uint8)
    dist.broadcast(held, src=0)
    return held.tobytes()


def _versions(message: StartMessage, rank: int) -> Versions:
    """NCCL's version that the run's log states, with the CUDA version of the driver that the rank's GPU has."""
    if message.config is None or not os.environ.get("NCCL_DEBUG"):
        return Versions()
    from accelerate_sim import catalog
    from accelerate_sim.monitoring.nvidia_smi.boards import HOPPER_DRIVER, board_of

    cluster = message.config["cluster"]
    board = board_of(catalog.with_driver(catalog.gpu(cluster["gpu"]), cluster["driver"]))
    versions = Versions(cluster["nccl_version"], (board.driver if board else HOPPER_DRIVER).cuda)
    if message.attempt is None:
        return versions
    from accelerate_sim.session.faults.nccl_versions import versions_of

    return versions_of(rank, message, versions)


def _gathered(mine: int, world_size: int) -> tuple[int, ...]:
    """The numbers of all ranks, in rank order."""
    import numpy as np

    import fake_torch_dist as dist

    numbers = np.zeros(world_size, np.int64)
    dist.all_gather_single(numbers, np.array([mine]))
    return tuple(numbers.tolist())


def host_number() -> int:
    """A number for this host, which ranks on other hosts do not have."""
    import hashlib

    from fake_torch_dist.transports.contacts import host_identity

    digest = hashlib.blake2b(host_identity().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def leave_world() -> None:
    """Destroy the process group, if there is one; ranks that wait for this one get an error."""
    import fake_torch_dist as dist

    if dist.is_initialized():
        dist.destroy_process_group()
