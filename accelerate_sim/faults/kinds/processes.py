"""Kinds of fault that end or stop processes: kill, raise, exit, oom, hostoom, hang, nodefail, preempt."""

from __future__ import annotations

from accelerate_sim.faults.consequences import Truth
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.kinds import process_ends as ends
from accelerate_sim.faults.kinds import process_lines as lines
from accelerate_sim.faults.kinds import process_metrics as metrics
from accelerate_sim.faults.spans import NOTHING, FaultSpan

SIGNALS = ("KILL", "SEGV", "ABRT", "BUS", "TERM", "INT", "ILL", "FPE", "HUP", "QUIT")
TRANSPORT = Key(
    "word", "ib", "Network of NCCL: over sockets, ranks of other machines report the lost peer at once.",
    ("ib", "socket"),
)  # fmt: skip
TIMEOUT = Key("span", FaultSpan(600.0), "Time of the others' watchdog.")

KINDS = (
    FaultKind(
        name="kill", help="a signal ends a process; the others fail as their peer is gone",
        targets=("rank", "node", "gpu"),
        keys={"signal": Key("word", "KILL", "Name of the signal, without SIG.", SIGNALS), "transport": TRANSPORT},
        ends=ends.killed, lines=lines.of_signal, truth=Truth("software"), expect=metrics.expect_end,
    ),
    FaultKind(
        name="raise", help="an exception leaves the training function: traceback, exit code 1",
        targets=("rank", "node", "gpu"),
        keys={
            "error": Key("text", "RuntimeError", "Class of the exception."),
            "text": Key("text", "injected fault", "Its text."),
            "transport": TRANSPORT,
        },
        ends=ends.raised, lines=lines.lost_peer, truth=Truth("software"), expect=metrics.expect_end,
    ),
    FaultKind(
        name="exit", help="a process exits with a code of its own and prints nothing",
        targets=("rank", "node", "gpu"),
        keys={"code": Key("int", 3, "Exit code.", least=1, most=255), "transport": TRANSPORT},
        ends=ends.exited, lines=lines.lost_peer, truth=Truth("software", quiet=True), expect=metrics.expect_end,
    ),
    FaultKind(
        name="oom", help="a GPU has no memory left: torch's exception with figures that add up, exit code 1",
        targets=("rank", "gpu"),
        keys={
            "tried": Key("size", "20MiB", "Size of the allocation that fails."),
            "other": Key("size", "0MiB", "Memory that other processes have."),
        },
        ends=ends.out_of_memory, truth=Truth("software"), expect=metrics.expect_end,
    ),
    FaultKind(
        name="hostoom", help="a machine has no memory left: its kernel kills the largest process",
        targets=("node", "rank"),
        target="node=any",
        keys={"cgroup": Key("switch", True, "The limit is that of a cgroup.")},
        ends=ends.host_out_of_memory, lines=lines.of_host_memory, truth=Truth("host"),
        expect=metrics.expect_end,
    ),
    FaultKind(
        name="hang", help="a process stops and prints nothing; the watchdog of the others ends the job in its time",
        targets=("rank", "node", "gpu"),
        keys={
            "how": Key("word", "python", "In Python, stopped by a signal, or waiting for a device.",
                       ("python", "stop", "io")),
            "timeout": TIMEOUT,
        },
        ends=ends.hanging, lines=lines.of_hang, truth=Truth("software"), telemetry=metrics.hangs,
        expect=metrics.expect_hang,
    ),
    FaultKind(
        name="nodefail", help="a machine is gone with its agent and its ranks; it comes back, or the job ends",
        targets=("node",),
        target="node=any",
        keys={"back": Key("span", FaultSpan(600.0), "Time until it is back; ever: it never is.")},
        ends=ends.node_failed, lines=lines.of_lost_machine, truth=Truth("host", transient=False, action="reboot_node"),
        telemetry=metrics.gone, expect=metrics.expect_gone,
    ),
    FaultKind(
        name="preempt", help="a scheduler ends the whole job: SIGTERM, time to save, SIGKILL",
        targets=("job", "node"),
        target="job",
        keys={
            "by": Key("word", "slurm", "Who ends it.", ("slurm", "k8s", "spot", "limit")),
            "grace": Key("span", NOTHING, "Time to save before SIGKILL; 0s: that of the scheduler, 30 s or 2 min."),
        },
        ends=ends.preempted, lines=lines.of_preemption, truth=Truth("scheduler", action="none"),
    ),
)  # fmt: skip
