"""``JobEnd``: the early end of a job, which rank 0 tells the other ranks so that all exit with the same code."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from accelerate_sim.process.placement import Placement
from accelerate_sim.process.signals import Signals

if TYPE_CHECKING:
    from fake_torch_dist.core.reduction import Array
    from fake_torch_dist.core.work import Work

GRACE_S = 0.5
"""Real seconds to wait after a peer is lost: if a signal ended it, the same signal reaches this process by then."""
EXIT_CODE_TAG = 0x7E0D
"""Tag of the messages that rank 0 sends before it exits: ``ENDS``, if a signal has stopped it, then its exit code."""
ENDS = -1
"""The number that rank 0 sends before it saves and ends; its exit code follows."""
ANNOUNCED_WITHIN_S = 3.0
"""Real seconds in which rank 0 announces its end after a signal that reaches all ranks."""
SAVED_WITHIN_S = 120.0
"""Real seconds for which the other ranks wait at most while rank 0 saves."""


class JobEnd:
    """The messages that rank 0 sends before it exits, in a process of rank 0 or of another rank."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._main_ends = False
        """True once rank 0 has announced its end."""
        self._word: tuple[Work, Array] | None = None
        """The receive of rank 0's next message before it exits, and its array; None: it is not begun."""

    def announce(self) -> None:
        """In rank 0 after a signal, before it saves: let the other ranks wait for its exit code.

        An engine that kills all ranks when the first has ended would otherwise kill rank 0 while it saves.
        """
        import fake_torch_dist as dist

        with suppress(dist.DistError):
            if dist.is_initialized():
                self.tell(ENDS)

    def tell(self, number: int) -> None:
        """In rank 0 before it exits: send a number to the other ranks, its exit code or ``ENDS``."""
        import numpy as np

        import fake_torch_dist as dist

        for process in range(1, self._placement.num_processes):
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
        sys.stderr.write("".join(f"[rank{rank}]: {text}\n" for rank in self._placement.ranks))
        return 1

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

        if self._placement.is_main or not dist.is_initialized():
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
