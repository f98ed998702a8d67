"""The lines of ``words`` as those of ranks and machines, and the identities that the words need, from a strike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta

from accelerate_sim.faults.consequences import Death, Ending, FaultLine, HangEnd, SignalEnd
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.pending_collective import pending_in
from accelerate_sim.faults.words import watchdog
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.heartbeat import HEARTBEAT_S
from accelerate_sim.faults.words.line import TimedLine, later
from accelerate_sim.faults.words.torch_release import watchdog_lines
from accelerate_sim.faults.words.xid_bodies import Victim, XidGpu
from accelerate_sim.sim.gpus import devices
from fake_torch_dist.nccl.pci_addresses import pci_address

NOTICED_S = 1.0
"""Seconds from the end of one rank until the launcher has ended the others."""
ABORT_S = 60.0
"""Seconds from the line of a stuck watchdog's monitor until it ends the process."""
MOST_LOGGING_RANKS = 64
"""Most ranks that log how their collective ended; in larger jobs the first ones do."""
SIGABRT = 6


def of_rank(rank: int, lines: Iterable[TimedLine], *signs: str) -> Iterator[FaultLine]:
    """The lines as those of a rank, or of the kernel of its machine; the first one that fits a sign is claimed."""
    left = list(signs)
    for after_s, stream, text in lines:
        assert stream in ("stdout", "stderr", "kernel", "syslog")
        sign = next((each for each in left if re.search(each, text)), "")
        if sign:
            left.remove(sign)
        yield FaultLine(text, rank, stream, after_s, sign)  # type: ignore[arg-type]  # asserted above


def draw_of(strike: Occurrence, rank: int) -> Draw:
    """Draws of a strike for one rank."""
    return Draw(strike.seed, rank)


def gpu_of(strike: Occurrence, rank: int) -> XidGpu:
    """The GPU of a rank as the driver names it."""
    config, (node, local) = strike.run.config, divmod(rank, strike.run.layout.gpus_per_node)
    domain, bus = pci_address(local)
    return XidGpu(
        index=local, pci=f"{domain:04x}:{bus:02x}:00",
        uuid=devices.uuid(config, node, local), serial=devices.serial(config, node, local),
    )  # fmt: skip


def victims_of(strike: Occurrence, rank: int) -> tuple[Victim, ...]:
    """The process on a rank's GPU."""
    return (Victim(strike.pid(rank)),)


def waiter_of(strike: Occurrence, rank: int, after_s: float = 0.0) -> watchdog.Waiter:
    """The watchdog of a rank, in the collective of the step that is under way, so many seconds after the strike."""
    seq = pending_in(strike).seq
    group = watchdog.WatchedGroup(rank=rank, enqueued=seq, completed=seq - 1)
    moment = strike.moment + timedelta(seconds=after_s)
    return watchdog.Waiter(
        rank=rank, group=group, default=group, expired=moment, draw=draw_of(strike, rank), torch=torch_of(strike)
    )


def torch_of(strike: Occurrence) -> str:
    """The version of torch whose lines the ranks print."""
    return strike.run.config.faults.torch


def collective_of(strike: Occurrence, timeout_s: float = 600.0) -> watchdog.WatchedCollective:
    """The collective of the step that is under way."""
    seq, op, numel_in, numel_out = pending_in(strike)
    return watchdog.WatchedCollective(
        seq=seq, op=op, numel_in=numel_in, numel_out=numel_out, timeout_ms=round(timeout_s * 1000)
    )


def waiting_ranks(strike: Occurrence) -> list[int]:
    """The ranks that wait for those that are hit."""
    return sorted(set(range(strike.run.layout.world_size)) - set(strike.hit.ranks))


def hung(strike: Occurrence, timeout_s: float, how: str = "io") -> Ending:
    """The end of a job whose ranks that are hit never come: the watchdog of another rank ends it."""
    waiting = waiting_ranks(strike)
    if not waiting:  # no rank waits for a collective: the heartbeat of each process ends it
        aborted_s = HEARTBEAT_S + ABORT_S
        deaths = tuple(Death(rank, SignalEnd(SIGABRT), aborted_s) for rank in strike.hit.ranks)
        return Ending(deaths, aborted_s + NOTICED_S)
    waited_s = timeout_s + watchdog_lines(torch_of(strike)).wait_s
    stuck = tuple(Death(rank, HangEnd(how)) for rank in strike.hit.ranks)
    return Ending((Death(waiting[0], SignalEnd(SIGABRT), waited_s), *stuck), waited_s + NOTICED_S)


def timed_out(strike: Occurrence, timeout_s: float) -> Iterator[FaultLine]:
    """The lines of the ranks that wait until their collective times out."""
    for rank in waiting_ranks(strike)[:MOST_LOGGING_RANKS]:
        said = watchdog.waiting_rank(waiter_of(strike, rank, timeout_s), collective_of(strike, timeout_s))
        yield from of_rank(rank, later(said, timeout_s), timeout_sign(rank))


def timeout_sign(rank: int) -> str:
    """The expression by which the first line of a rank whose collective has timed out is known."""
    return rf"\[rank{rank}\]:\S+ \S+ \S+\] \[Rank {rank}\] Watchdog caught collective operation timeout: WorkNCCL\("
