"""Kinds of fault that end or stop processes: kill, raise, exit, oom, hostoom, hang, nodefail, preempt."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator

from accelerate_sim.faults.consequences import Death, Ending, ExitEnd, HangEnd, Line, RaiseEnd, SignalEnd, Truth
from accelerate_sim.faults.kind import Key, Kind
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.sizes import bytes_of
from accelerate_sim.faults.spans import Span
from accelerate_sim.sim import noise

DUMP_S, HEARTBEAT_S = 60.0, 480.0
"""Seconds that a watchdog waits for the flight recorder before it ends its process, and those of its own monitor."""
NOTICED_S = 1.0
"""Seconds from the end of one rank until the launcher has ended the others."""
SIGNALS = tuple(name for name in ("KILL", "SEGV", "ABRT", "BUS", "TERM", "INT", "ILL", "FPE", "HUP", "QUIT"))


def _kill(strike: Occurrence) -> Ending:
    number = signal.Signals[f"SIG{strike.fault['signal']}"]
    return Ending(tuple(Death(rank, SignalEnd(int(number))) for rank in strike.hit.ranks), NOTICED_S)


def _raise(strike: Occurrence) -> Ending:
    error = RaiseEnd(str(strike.fault["error"]), str(strike.fault["text"]))
    return Ending(tuple(Death(rank, error) for rank in strike.hit.ranks), NOTICED_S)


def _exit(strike: Occurrence) -> Ending:
    code = strike.fault["code"]
    assert isinstance(code, int)
    return Ending(tuple(Death(rank, ExitEnd(code)) for rank in strike.hit.ranks), NOTICED_S)


def _out_of_memory(strike: Occurrence) -> Ending:
    error = RaiseEnd("torch.OutOfMemoryError", out_of_memory_text(strike))
    return Ending(tuple(Death(rank, error) for rank in strike.hit.ranks), NOTICED_S)


def out_of_memory_text(strike: Occurrence) -> str:
    """The message of an allocation that fails: parts of the GPU's memory that add up, from the memory model."""
    use, total = strike.run.memory, strike.run.gpu.memory_bytes
    tried, other = bytes_of(strike.fault["tried"]), bytes_of(strike.fault["other"])
    free = int(tried * (0.05 + 0.9 * strike.draw("free")))
    used = total - free - other
    context = min(int(use.context), used // 4)
    unallocated = int((used - context) * (0.01 + 0.04 * strike.draw("unallocated")))
    allocated = used - context - unallocated
    local = strike.hit.ranks[0] % strike.run.layout.gpus_per_node
    others = f"Process {1000 + local} has {_size(other)} memory in use. " if other else ""
    return (
        f"CUDA out of memory. Tried to allocate {_size(tried)}. GPU {local} has a total capacity of {_size(total)} of "
        f"which {_size(free)} is free. {others}Including non-PyTorch memory, this process has {_size(used)} memory in "
        f"use. Of the allocated memory {_size(allocated)} is allocated by PyTorch, and {_size(unallocated)} is "
        "reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory "
        "Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-cuda-"
        "alloc-conf)"
    )


def _size(count: int) -> str:
    if count >= 2**30:
        return f"{count / 2**30:.2f} GiB"
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.2f} KiB"


def _largest(strike: Occurrence) -> int:
    """The rank that the kernel picks: of those that are hit, one that is drawn."""
    ranks = strike.hit.ranks
    return ranks[min(int(strike.draw("largest") * len(ranks)), len(ranks) - 1)]


def _host_out_of_memory(strike: Occurrence) -> Ending:
    return Ending((Death(_largest(strike), SignalEnd(signal.SIGKILL)),), NOTICED_S)


def _host_out_of_memory_lines(strike: Occurrence) -> Iterator[Line]:
    rank = _largest(strike)
    kind = "Memory cgroup out of memory" if strike.fault["cgroup"] else "Out of memory"
    size = int((180 + 60 * strike.draw("size")) * 2**20)
    yield Line(
        f"{kind}: Killed process {4000 + rank} (pt_main_thread) total-vm:{size + 2**22}kB, anon-rss:{size}kB, "
        "file-rss:0kB, shmem-rss:0kB", rank, "kernel",
    )  # fmt: skip


def _hang(strike: Occurrence) -> Ending:
    """The others wait for the watchdog's time; the first of them to give up ends the job."""
    timeout, how = strike.fault["timeout"], str(strike.fault["how"])
    assert isinstance(timeout, Span)
    waited_s = (timeout.seconds or 0.0) + DUMP_S
    victims = set(strike.hit.ranks)
    first = next((rank for rank in range(strike.run.layout.world_size) if rank not in victims), None)
    if first is None:  # nobody waits for a collective: the heartbeat of each process ends it
        deaths = tuple(Death(rank, SignalEnd(signal.SIGABRT), HEARTBEAT_S) for rank in strike.hit.ranks)
        return Ending(deaths, HEARTBEAT_S + NOTICED_S)
    hung = tuple(Death(rank, HangEnd(how)) for rank in strike.hit.ranks)
    return Ending((Death(first, SignalEnd(signal.SIGABRT), waited_s), *hung), waited_s + NOTICED_S)


def _watchdog_lines(strike: Occurrence) -> Iterator[Line]:
    timeout = strike.fault["timeout"]
    assert isinstance(timeout, Span)
    waited_s = timeout.seconds or 0.0
    for rank in set(range(strike.run.layout.world_size)) - set(strike.hit.ranks):
        late_ms = 4 + int(86 * noise.uniform(strike.seed, "late", rank)[0])
        yield Line(
            f"[rank{rank}]: [Rank {rank}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum={strike.step}, "
            f"OpType=ALLREDUCE, Timeout(ms)={waited_s * 1000:.0f}) ran for {waited_s * 1000 + late_ms:.0f} "
            "milliseconds before timing out.", rank, "stderr", waited_s + late_ms / 1000,
        )  # fmt: skip


def _node_failure(strike: Occurrence) -> Ending:
    back = strike.fault["back"]
    assert isinstance(back, Span) and back.seconds is not None
    deaths = tuple(Death(rank, SignalEnd(signal.SIGKILL)) for rank in strike.hit.ranks)
    returns = not math.isinf(back.seconds)
    return Ending(
        deaths, NOTICED_S, nodes_gone=strike.hit.nodes, restarts=returns, min_restart_s=back.seconds if returns else 0.0
    )


def _preempt(strike: Occurrence) -> Ending:
    saves = strike.run.config.checkpoint.on_preempt == "save"
    return Ending((), NOTICED_S, restarts=False, job_signal=signal.SIGTERM, saves=saves)


def _preempt_lines(strike: Occurrence) -> Iterator[Line]:
    reasons = {
        "slurm": "slurmstepd: error: *** STEP 1.0 ON {host} CANCELLED AT {step} DUE TO PREEMPTION ***",
        "limit": "slurmstepd: error: *** STEP 1.0 ON {host} CANCELLED AT {step} DUE TO TIME LIMIT ***",
        "k8s": "Stopping container trainer: the pod is preempted",
        "spot": "The instance of {host} is being interrupted",
    }
    text = reasons[str(strike.fault["by"])].format(host=strike.host(0), step=f"step {strike.step}")
    yield Line(text, 0, "slurm" if strike.fault["by"] in ("slurm", "limit") else "kubernetes")


def _segfault_lines(strike: Occurrence) -> Iterator[Line]:
    if strike.fault["signal"] == "SEGV":
        for rank in strike.hit.ranks:
            yield Line(f"pt_main_thread: segfault of rank {rank}", rank, "kernel")


KINDS = (
    Kind(
        name="kill", help="a process gets a signal and is gone; the others notice that it is",
        targets=("rank", "node", "gpu"),
        keys={"signal": Key("word", "KILL", "Name of the signal, without SIG.", SIGNALS)},
        ends=_kill, lines=_segfault_lines, truth=Truth("software"),
    ),
    Kind(
        name="raise", help="an exception leaves the training function: traceback, exit code 1",
        targets=("rank", "node", "gpu"),
        keys={
            "error": Key("text", "RuntimeError", "Class of the exception."),
            "text": Key("text", "injected fault", "Its text."),
        },
        ends=_raise, truth=Truth("software"),
    ),
    Kind(
        name="exit", help="a process exits with a code of its own and says nothing",
        targets=("rank", "node", "gpu"),
        keys={"code": Key("int", 3, "Exit code.", least=1, most=255)},
        ends=_exit, truth=Truth("software", quiet=True),
    ),
    Kind(
        name="oom", help="a GPU has no memory left: torch's exception with figures that add up, exit code 1",
        targets=("rank", "gpu"),
        keys={
            "tried": Key("size", "20MiB", "Size of the allocation that fails."),
            "other": Key("size", "0MiB", "Memory that other processes have."),
        },
        ends=_out_of_memory, truth=Truth("software"),
    ),
    Kind(
        name="hostoom", help="a machine has no memory left: its kernel kills the largest process",
        targets=("node", "rank"),
        target="node=any",
        keys={"cgroup": Key("switch", True, "The limit is that of a cgroup.")},
        ends=_host_out_of_memory, lines=_host_out_of_memory_lines, truth=Truth("host"),
    ),
    Kind(
        name="hang", help="a process stops and says nothing; the watchdog of the others ends the job in its time",
        targets=("rank", "node", "gpu"),
        keys={
            "how": Key("word", "python", "In Python, stopped by a signal, or waiting for a device.",
                       ("python", "stop", "io")),
            "timeout": Key("span", Span(600.0), "Time of the others' watchdog."),
        },
        ends=_hang, lines=_watchdog_lines, truth=Truth("software"),
    ),
    Kind(
        name="nodefail", help="a machine is gone with its agent and its ranks; it comes back, or the job ends",
        targets=("node",),
        target="node=any",
        keys={"back": Key("span", Span(600.0), "Time until it is back; ever: it never is.")},
        ends=_node_failure, truth=Truth("host", transient=False, action="reboot_node"),
    ),
    Kind(
        name="preempt", help="a scheduler ends the whole job: SIGTERM, time to save, SIGKILL",
        targets=("job", "node"),
        target="job",
        keys={"by": Key("word", "slurm", "Who ends it.", ("slurm", "k8s", "spot", "limit"))},
        ends=_preempt, lines=_preempt_lines, truth=Truth("scheduler", action="none"),
    ),
)  # fmt: skip
