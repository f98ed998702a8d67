"""``Coordination``: rank 0 of a job of many processes starts the runs of the others, and ends them.

Before each run all ranks join the process group, and rank 0 sends a ``StartMessage`` with config, number and clock. So
one process reads the file, makes the random choices and prints the errors. If rank 0 stops early it sends its exit
code, so that the other ranks exit with the same code and print no errors about a lost peer. After a signal it announces
its end before it saves, and the other ranks, which the signal has reached too, exit after it.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from accelerate_sim.process.placement import Placement
from accelerate_sim.process.signals import ENDING, Signals
from accelerate_sim.session.start_message import StartMessage
from fake_torch_dist import nccl_log

if TYPE_CHECKING:
    from fake_torch_dist.core.reduction import Array, ReduceOp
    from fake_torch_dist.core.work import Work

RUN_TIMEOUT = timedelta(days=20)
"""Timeout of collectives after the first meeting. A run may be stopped for long; epoll's largest timeout is 24 days."""
GRACE_S = 0.5
"""Real seconds to wait after a peer is lost: if a signal ended it, the same signal reaches this process by then."""
SIGNALLED = frozenset(128 + number for number in ENDING)
"""Exit codes after signals, which a launcher sends to all ranks."""
EXIT_CODE_TAG = 0x7E0D
"""Tag of the messages that rank 0 sends before it exits: ``ENDS``, if a signal has stopped it, then its exit code."""
ENDS = -1
"""The number that rank 0 sends before it saves and ends; its exit code follows."""
ANNOUNCED_WITHIN_S = 3.0
"""Real seconds in which rank 0 announces its end after a signal that reaches all ranks."""
SAVED_WITHIN_S = 120.0
"""Real seconds for which the other ranks wait at most while rank 0 saves."""


class Coordination:
    """The link of this process to the other processes of the job."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self._met_before = False
        self._has_sent_last = False
        self._main_ends = False
        """True once rank 0 has announced its end."""
        self._word: tuple[Work, Array] | None = None
        """The receive of rank 0's next message before it exits, and its array; None: it is not begun."""
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
                self._send_exit_code(exit_code)
            elif not self._has_sent_last and exit_code not in SIGNALLED:
                self.send(StartMessage(exit_code=exit_code))
                dist.destroy_process_group()

    def announce_end(self) -> None:
        """In rank 0 after a signal, before it saves: let the other ranks wait for its exit code.

        An engine that kills all ranks when the first has ended would otherwise kill rank 0 while it saves.
        """
        import fake_torch_dist as dist

        with suppress(dist.DistError):
            if dist.is_initialized():
                self._tell_others(ENDS)

    def _send_exit_code(self, exit_code: int) -> None:
        import fake_torch_dist as dist

        self._tell_others(exit_code)
        dist.destroy_process_group()

    def _tell_others(self, number: int) -> None:
        import numpy as np

        import fake_torch_dist as dist

        for process in range(1, self.placement.num_processes):
            dist.isend(np.array([number]), process, tag=EXIT_CODE_TAG)

    def exit_code_after_signal(self, exit_code: int) -> int:
        """In another rank after a signal: wait until rank 0 has ended or is gone. Returns the exit code.

        ``exit_code`` is that of the signal. Rank 0 that announces no end did not get the signal: it is not waited for.
        """
        code = self._exit_code_of_main(ANNOUNCED_WITHIN_S)
        return exit_code if code is None else code

    def exit_code_after(self, error: Exception, signals: Signals) -> int:
        """Exit code after ``error`` of a collective: rank 0's, or 1 with the error printed. May raise ``Stopped``."""
        with signals.at_once():
            code = self._exit_code_of_main(2 * GRACE_S)  # rank 0 may itself be in its GRACE_S
            if code is not None:
                return code
            time.sleep(GRACE_S)  # a launcher signals all ranks when one has failed
        # One line, with the prefix that torch puts before the lines of a rank.
        text = " ".join(str(error).split())
        sys.stderr.write("".join(f"[rank{rank}]: {text}\n" for rank in self.placement.ranks))
        return 1

    def is_peer_failure(self, error: Exception) -> bool:
        """True for the error of a collective: another rank is lost, late, or in another collective."""
        from fake_torch_dist.errors import DistError

        return isinstance(error, DistError)

    def _exit_code_of_main(self, patience_s: float) -> int | None:
        """The exit code that rank 0 has sent, or sends after it has announced its end; None if it sends none."""
        number = self._word_of_main(SAVED_WITHIN_S if self._main_ends else patience_s)
        if number == ENDS:
            self._main_ends = True
            number = self._word_of_main(SAVED_WITHIN_S)
        return number

    def _word_of_main(self, patience_s: float) -> int | None:
        """The next number that rank 0 sends before it exits; None if it sends none in this time, or is gone.

        A receive that a signal or the time has cut short goes on with the next call, so that no number is lost.
        """
        import numpy as np

        import fake_torch_dist as dist

        if self.placement.is_main or not dist.is_initialized():
            return None
        try:
            if self._word is None:
                number = np.array([0])
                work = dist.irecv(number, 0, tag=EXIT_CODE_TAG)
                assert work is not None
                self._word = work, number
            work, number = self._word
            work.wait(timedelta(seconds=patience_s))
        except RuntimeError:
            return None
        self._word = None
        return int(number[0])


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


def _versions(message: StartMessage, rank: int) -> nccl_log.Versions:
    """NCCL's version that the run's log states, with the CUDA version of the driver that the rank's GPU has."""
    if message.config is None or not os.environ.get("NCCL_DEBUG"):
        return nccl_log.Versions()
    from accelerate_sim import catalog
    from accelerate_sim.monitoring.nvidia_smi.boards import HOPPER_DRIVER, board_of

    cluster = message.config["cluster"]
    board = board_of(catalog.with_driver(catalog.gpu(cluster["gpu"]), cluster["driver"]))
    versions = nccl_log.Versions(cluster["nccl_version"], (board.driver if board else HOPPER_DRIVER).cuda)
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
