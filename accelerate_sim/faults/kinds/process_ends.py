"""The ends of attempts by the kinds of fault of processes: which ranks end, when and how."""

from __future__ import annotations

import math
import signal
from typing import Final

from accelerate_sim.faults.consequences import Death, Ending, ExitEnd, HowItEnds, RaiseEnd, SignalEnd
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import NOTICED_S, hung, torch_of
from accelerate_sim.faults.sizes import bytes_of
from accelerate_sim.faults.spans import FaultSpan
from accelerate_sim.faults.words import cuda
from accelerate_sim.faults.words.slurm import KILL_WAIT_S

LAUNCHER_STOPS_S: Final = 0.6
"""Seconds from SIGTERM to a launcher until its job has ended."""


def _all_hit(strike: Occurrence, how: HowItEnds) -> Ending:
    return Ending(tuple(Death(rank, how) for rank in strike.hit.ranks), NOTICED_S)


def killed(strike: Occurrence) -> Ending:
    """Ranks that get a signal."""
    return _all_hit(strike, SignalEnd(int(signal.Signals[f"SIG{strike.fault['signal']}"])))


def raised(strike: Occurrence) -> Ending:
    """Ranks whose training function raises."""
    return _all_hit(strike, RaiseEnd(str(strike.fault["error"]), str(strike.fault["text"])))


def exited(strike: Occurrence) -> Ending:
    """Ranks that exit."""
    code = strike.fault["code"]
    assert isinstance(code, int)
    return _all_hit(strike, ExitEnd(code))


def out_of_memory(strike: Occurrence) -> Ending:
    """Ranks that find no memory on their GPU."""
    deaths = []
    for rank in strike.hit.ranks:
        name, _, text = out_of_memory_text(strike, rank).partition(": ")
        deaths.append(Death(rank, RaiseEnd(name, text)))
    return Ending(tuple(deaths), NOTICED_S)


def out_of_memory_text(strike: Occurrence, rank: int) -> str:
    """The exception of an allocation that fails: parts of the GPU's memory that add up, from the memory model."""
    use, total = strike.run.memory, strike.run.gpu.memory_bytes
    asked, other = bytes_of(strike.fault["tried"]), min(bytes_of(strike.fault["other"]), total // 2)
    local = rank % strike.run.layout.gpus_per_node
    tried = min(cuda.segment_size(asked), total // 4)
    used = total - other - int(tried * (0.05 + 0.9 * strike.draw(f"free/{rank}")))
    context = min(int(use.context), used // 4)
    reserved = used - context
    allocated = reserved - int(reserved * (0.01 + 0.04 * strike.draw(f"unallocated/{rank}")))
    others = ((1000 + local, other),) if other else ()
    memory = cuda.GpuMemory(total, allocated, reserved, context, others)
    return cuda.out_of_memory(local, asked, memory, torch=torch_of(strike))


def largest(strike: Occurrence) -> int:
    """The rank that the kernel kills when a machine has no memory left: of those that are hit, one that is drawn."""
    ranks = strike.hit.ranks
    return ranks[min(int(strike.draw("largest") * len(ranks)), len(ranks) - 1)]


def host_out_of_memory(strike: Occurrence) -> Ending:
    """The largest process of a machine, which its kernel kills."""
    return Ending((Death(largest(strike), SignalEnd(signal.SIGKILL)),), NOTICED_S)


def timeout_s(strike: Occurrence) -> float:
    """Seconds until the watchdog of a rank that waits gives up."""
    timeout = strike.fault["timeout"]
    assert isinstance(timeout, FaultSpan)
    return timeout.seconds or 0.0


def hanging(strike: Occurrence) -> Ending:
    """Ranks that never come, while the others wait for the time of their watchdog; the first of them ends the job."""
    return hung(strike, timeout_s(strike), str(strike.fault["how"]))


def node_failed(strike: Occurrence) -> Ending:
    """A machine that is gone with all of its processes."""
    back = strike.fault["back"]
    assert isinstance(back, FaultSpan) and back.seconds is not None
    deaths = tuple(Death(rank, SignalEnd(signal.SIGKILL)) for rank in strike.hit.ranks)
    returns = not math.isinf(back.seconds)
    return Ending(
        deaths, NOTICED_S, nodes_gone=strike.hit.nodes, restarts=returns, min_restart_s=back.seconds if returns else 0.0
    )


GRACES_S: Final = {"slurm": float(KILL_WAIT_S), "limit": float(KILL_WAIT_S), "k8s": 30.0, "spot": 120.0}
"""Seconds from SIGTERM to SIGKILL by who ends the job; 120 s of AWS's spot instances."""


def grace_s(strike: Occurrence) -> float:
    """Seconds that a job that is preempted has before it is killed."""
    grace = strike.fault["grace"]
    assert isinstance(grace, FaultSpan) and grace.seconds is not None
    return grace.seconds or GRACES_S[str(strike.fault["by"])]


def saving_s(strike: Occurrence) -> float:
    """Seconds in which a job that is preempted saves its last step; infinite if it does not."""
    run = strike.run
    if run.config.checkpoint.on_preempt != "save":
        return math.inf
    return run.checkpoint_seconds(strike.step - 1)


def preempted(strike: Occurrence) -> Ending:
    """A job that gets SIGTERM, saves its last step if there is time for that, and is over."""
    needed_s = saving_s(strike)
    saves = needed_s <= grace_s(strike)
    ended_s = LAUNCHER_STOPS_S
    if saves:
        ended_s += needed_s
    elif not math.isinf(needed_s):
        ended_s = grace_s(strike)  # it is killed while it writes
    return Ending((), ended_s, restarts=False, job_signal=signal.SIGTERM, saves=saves)
