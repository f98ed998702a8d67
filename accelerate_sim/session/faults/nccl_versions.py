"""``versions_of``: the versions that NCCL states in a rank's lines in an attempt of a run with faults."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.faults.attempt_run import AttemptRun
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.planned import schedule_of
from accelerate_sim.sim.run import Run

if TYPE_CHECKING:
    from accelerate_sim.session.start_message import StartMessage
    from fake_torch_dist.nccl.communicator import Versions


def versions_of(rank: int, message: StartMessage, usual: Versions) -> Versions:
    """The versions of NCCL and of the driver's CUDA that a rank has when the attempt of the message starts."""
    number = message.attempt or 0
    run = Run(RunConfig.model_validate(message.config), message.number)
    schedule = schedule_of(run, message.restarts, number, message.asked)
    *earlier, attempt = [each for before in range(number + 1) if (each := schedule.attempt(before)) is not None]
    for strike in attempt.occurrences:
        if nccl := KINDS[strike.fault.kind].nccl:
            usual = replace(usual, nccl=nccl(strike, rank))
    condition = AttemptRun.of_attempt(run, attempt, earlier).conditions(attempt.start_s).get(rank)
    return replace(usual, driver=condition.cuda) if condition and condition.cuda else usual
