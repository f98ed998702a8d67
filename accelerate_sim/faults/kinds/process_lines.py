"""The lines of ranks, kernels and schedulers about the kinds of fault of processes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from accelerate_sim.faults.consequences import FaultLine
from accelerate_sim.faults.kinds.process_ends import grace_s, largest, timeout_s
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import (
    MOST_LOGGING_RANKS,
    collective_of,
    draw_of,
    of_rank,
    timed_out,
    torch_of,
    waiter_of,
    waiting_ranks,
)
from accelerate_sim.faults.words import heartbeat, kernel, kubernetes, nccl, nccl_error, signals, slurm, store
from accelerate_sim.faults.words.line import later
from fake_torch_dist.torch_names import MASTER_PORT

SEGFAULT: Final = r"pt_main_thread\[\d+\]: segfault at "
OOM_KILL: Final = r"[Oo]ut of memory: Killed process \d+ \(pt_main_thread\) total-vm:\d+kB"
CGROUP: Final = "/system.slice/slurmstepd.scope/job_{job}/step_0"


def job_id(strike: Occurrence) -> int:
    """Number of the job of a scheduler, the same for all faults of a run."""
    return 100_000 + strike.run.noise_seed % 900_000


def _remote(strike: Occurrence) -> list[int]:
    """The ranks of other machines than those that are hit, the first ones of a large job."""
    per_node = strike.run.layout.gpus_per_node
    nodes = {rank // per_node for rank in strike.hit.ranks}
    return [rank for rank in waiting_ranks(strike) if rank // per_node not in nodes][:MOST_LOGGING_RANKS]


def lost_peer(strike: Occurrence) -> Iterator[FaultLine]:
    """The lines of ranks of other machines, whose NCCL uses TCP and detects that its peer's socket is closed.

    On InfiniBand, RoCE and EFA a queue gives up after half a minute, and the launcher ends the ranks before.
    """
    if strike.fault["transport"] != "socket":
        return
    host = strike.host(strike.hit.ranks[0])
    version = strike.run.config.cluster.nccl_version
    for rank in _remote(strike):
        last = nccl.closed_text(host, 32768 + draw_of(strike, rank).below("port", 28000))
        said = nccl_error.async_error(
            waiter_of(strike, rank), collective_of(strike), nccl_error.REMOTE, last, nccl=version
        )
        yield from of_rank(rank, said, nccl_error.async_error_sign(rank))


def of_signal(strike: Occurrence) -> Iterator[FaultLine]:
    """The lines about ranks that a signal ends: the kernel's, their own, and those of their peers."""
    number = signal.Signals[f"SIG{strike.fault['signal']}"]
    for rank in strike.hit.ranks:
        draw = draw_of(strike, rank)
        if number == signal.SIGSEGV:
            yield from of_rank(rank, kernel.segmentation_fault(strike.pid(rank), draw), SEGFAULT)
        elif number == signal.SIGABRT:
            yield from of_rank(rank, signals.damaged_heap(draw))
        else:
            yield from of_rank(rank, signals.own_words(number, draw))
    yield from lost_peer(strike)


def of_host_memory(strike: Occurrence) -> Iterator[FaultLine]:
    """The kernel's block about a machine without memory, with the process that it kills."""
    rank = largest(strike)
    pid, gib = strike.pid(rank), 180 + 60 * strike.draw("size")
    cgroup = CGROUP.format(job=job_id(strike)) if strike.fault["cgroup"] else ""
    said = kernel.out_of_memory(pid, gib, draw_of(strike, rank), cgroup=cgroup)
    yield from of_rank(rank, said, OOM_KILL)


def of_hang(strike: Occurrence) -> Iterator[FaultLine]:
    """The lines of ranks that wait until their watchdog's time is up, and then of the monitors of those that hang."""
    waited_s, waiting = timeout_s(strike), waiting_ranks(strike)
    if not waiting:
        for rank in strike.hit.ranks[:MOST_LOGGING_RANKS]:
            if strike.fault["how"] != "stop":
                said = heartbeat.stuck_watchdog(waiter_of(strike, rank))
                yield from of_rank(
                    rank, said, rf"\[rank{rank}\].* ProcessGroupNCCL's watchdog got stuck for 480 seconds"
                )
        return
    yield from timed_out(strike, waited_s)
    for rank in strike.hit.ranks[:MOST_LOGGING_RANKS]:
        if strike.fault["how"] == "stop":
            continue  # none of its threads runs
        waiter = waiter_of(strike, rank, waited_s)
        idle = replace(waiter.group, enqueued=waiter.group.completed)
        waiter = replace(waiter, group=idle, default=idle)
        sign = rf"\[rank{rank}\].* Observed flight recorder dump signal from another rank via TCPStore"
        yield from of_rank(rank, later(heartbeat.absent_rank(waiter, waiting[0]), waited_s), sign)


def of_lost_machine(strike: Occurrence) -> Iterator[FaultLine]:
    """The lines of ranks whose store was on a machine that is gone, which is the one of rank 0."""
    if 0 not in strike.hit.nodes:
        return
    for rank in _remote(strike):
        client = store.Client(
            rank=rank, host=strike.host(0), port=MASTER_PORT, start=strike.moment, draw=draw_of(strike, rank),
            torch=torch_of(strike),
        )  # fmt: skip
        sign = rf"\[rank{rank}\].* \[c10d\] recvValue failed on SocketImpl"
        yield from of_rank(rank, store.gone(client, store.RESET, seconds=1), sign)


# --- Schedulers ---------------------------------------------------------------------------------


def of_preemption(strike: Occurrence) -> Iterator[FaultLine]:
    """The lines of a scheduler that ends the job, where that scheduler writes them."""
    by = str(strike.fault["by"])
    if by in ("slurm", "limit"):
        yield from _of_slurm(strike, "time" if by == "limit" else "preempt")
        return
    for node in range(min(strike.run.layout.nodes, MOST_LOGGING_RANKS)):
        rank = node * strike.run.layout.gpus_per_node
        if by == "k8s":
            condition = kubernetes.disrupted("preempt") | {"lastTransitionTime": f"{strike.moment:%Y-%m-%dT%H:%M:%SZ}"}
            yield FaultLine(json.dumps(condition), rank, "kubernetes", 0.0, '"reason": "PreemptionByScheduler"')
        else:
            end = strike.moment + timedelta(seconds=grace_s(strike))
            notice = json.dumps({"action": "terminate", "time": f"{end:%Y-%m-%dT%H:%M:%SZ}"})
            yield FaultLine(notice, rank, "instance", 0.0, r'"action": "terminate"')


def _of_slurm(strike: Occurrence, cause: str) -> Iterator[FaultLine]:
    """The lines of srun and slurmstepd, which go to standard error of the step's first task."""
    layout, ending = strike.run.layout, strike.ending
    hosts = [strike.host(node * layout.gpus_per_node) for node in range(min(layout.nodes, MOST_LOGGING_RANKS))]
    answers = ending is None or ending.after_s < grace_s(strike)
    said = slurm.end_of_step(job_id(strike), 0, hosts, 1, strike.moment, cause, answers=answers, code=1)
    for after_s, _, text in said:
        sign = rf"CANCELLED AT .* {slurm.CAUSES[cause]} \*\*\*" if "CANCELLED" in text else ""
        yield FaultLine(text, 0, "slurm", after_s, sign)
