"""The processes of a job in step: rank 0 reads the command line and says what is played, the others follow.

Before every run all ranks meet, and rank 0 hands out a ``Cue``: the config, the number and the clock. So one process
reads the file, draws what is to be drawn, and says what is wrong. When it ends before its time it leaves a last word,
so that the others end with the same code and without complaining that it is gone.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import timedelta

from accelerate_sim.process.placement import Placement
from accelerate_sim.process.signals import ENDING, Signals
from accelerate_sim.session.cue import Cue

PATIENCE = timedelta(days=20)
"""How long ranks wait for each other once all have come: as long as a stopped run takes. epoll knows 24 days."""
GRACE_S = 0.5
"""A peer that is gone may be the first of all that have been told to end: by then our own signal has come."""
SIGNALLED = frozenset(128 + number for number in ENDING)
"""Exit codes after signals, which come to everybody."""
LAST_WORD = 0x7E0D
"""Tag of rank 0's exit code."""


class Job:
    """This process's part in the job."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self._met_before = False
        self._last_given = False
        self.pids: tuple[int, ...] = ()
        """Of all processes in rank order, for a run that is published."""

    def check_world(self, planned: int) -> None:
        """ValueError if a run is planned for another number of ranks."""
        if planned != self.placement.world_size:
            raise ValueError(
                f"the run is planned for {planned} ranks, but the launcher has started {self.placement.world_size}: "
                f"set cluster.nodes = {self.placement.num_nodes} and "
                f"cluster.gpus_per_node = {self.placement.local_world_size}, or start as many"
            )

    def meet(self) -> None:
        """All ranks come together, unless they are. Errors: fake_torch_dist's."""
        import fake_torch_dist as dist

        if dist.is_initialized():
            return
        # Between two runs rank 0 lets as much time pass as it likes.
        dist.init_process_group(backend="nccl", timeout=PATIENCE if self._met_before else None)
        self._met_before = True
        world = dist.group.WORLD
        assert world is not None
        world.timeout = PATIENCE

    def give(self, cue: Cue) -> None:
        """Rank 0: tell the others what to do."""
        self._exchange(cue)
        self._last_given = cue.is_last

    def take(self) -> Cue:
        """The others: wait for what to do."""
        return self._exchange(None)

    def _exchange(self, cue: Cue | None) -> Cue:
        self.meet()
        agreed = Cue.of(_from_main(cue.json() if cue else b""))
        if agreed.config and agreed.config["run"]["publish"]:
            self.pids = _gathered(os.getpid(), self.placement.world_size)
        return agreed

    # --- The end --------------------------------------------------------------------------------

    def dismiss(self, exit_code: int) -> None:
        """Rank 0 ends: in the middle of a run with a last word, otherwise with a last cue, to all that are left."""
        import fake_torch_dist as dist

        with suppress(dist.DistError):
            if dist.is_initialized():
                self._leave_last_word(exit_code)
            elif not self._last_given and exit_code not in SIGNALLED:
                self.give(Cue(exit_code=exit_code))
                dist.destroy_process_group()

    def _leave_last_word(self, exit_code: int) -> None:
        import numpy as np

        import fake_torch_dist as dist

        for rank in range(1, self.placement.world_size):
            dist.isend(np.array([exit_code]), rank, tag=LAST_WORD)
        dist.destroy_process_group()

    def end_broken(self, error: Exception, signals: Signals) -> int:
        """The exit code after ``error``, a collective's; says what happened if it is news. May raise ``Stopped``."""
        with signals.at_once():
            left = self._last_word()
            if left is not None:
                return left
            time.sleep(GRACE_S)  # for the signal that a launcher sends all ranks when one has failed
        # One line, marked as torch marks the lines of a rank.
        sys.stderr.write(f"[rank{self.placement.rank}]: {' '.join(str(error).split())}\n")
        return 1

    def broke(self, error: Exception) -> bool:
        """Whether the error says that a rank is gone, late, or somewhere else."""
        from fake_torch_dist.errors import DistError

        return isinstance(error, DistError)

    def _last_word(self) -> int | None:
        """The exit code that rank 0 left, None if it left none."""
        import numpy as np

        import fake_torch_dist as dist

        code = np.array([0])
        if self.placement.is_main or not dist.is_initialized():
            return None
        work = dist.irecv(code, 0, tag=LAST_WORD)
        try:
            done = work is not None and work.wait(timedelta(seconds=2 * GRACE_S))  # it gives others that time, too
        except RuntimeError:
            return None
        return int(code[0]) if done else None


def _from_main(data: bytes) -> bytes:
    """Rank 0's ``data``, on all ranks."""
    import numpy as np

    import fake_torch_dist as dist

    size = np.array([len(data)])
    dist.broadcast(size, src=0)
    held = np.frombuffer(data, np.uint8).copy() if data else np.empty(size[0], np.uint8)
    dist.broadcast(held, src=0)
    return held.tobytes()


def _gathered(mine: int, world_size: int) -> tuple[int, ...]:
    """Every rank's number, in rank order."""
    import numpy as np

    import fake_torch_dist as dist

    numbers = np.zeros(world_size, np.int64)
    dist.all_gather_into_tensor(numbers, np.array([mine]))
    return tuple(numbers.tolist())


def leave_world() -> None:
    """Whoever still waits for this process hears that it is gone."""
    import fake_torch_dist as dist

    if dist.is_initialized():
        dist.destroy_process_group()
