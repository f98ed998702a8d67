"""The end of a script that plays one rank a process where each process is to play several."""

from __future__ import annotations

import sys
import time
from typing import Final, NoReturn

from fake_torch_dist import errors

_ENDED_S: Final = 5.0
"""Seconds in which a launcher ends the other processes after the first has ended."""


def refuse_several_ranks(process: int) -> NoReturn:
    """Print once in the job that its processes can play one rank only, and exit with 2.

    Process 0 prints it. The others wait for the end that a launcher brings them then, as one that ended first would
    keep process 0 from saying it.
    """
    if process == 0:
        print(errors.ONE_RANK_A_PROCESS, file=sys.stderr, flush=True)
    else:
        time.sleep(_ENDED_S)
    sys.exit(2)
