"""The lines of Slurm when it ends a step: slurmstepd on the step's first node, then srun for the nodes.

All go to standard error of the step. Times count from the moment at which Slurm begins to end the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from accelerate_sim.faults.words.line import STDERR, TimedLine

KILL_WAIT_S: Final = 30
"""Seconds between SIGTERM and SIGKILL (``KillWait``), unless the partition has a grace time of its own."""

CAUSES: Final = {
    "time": "DUE TO TIME LIMIT",
    "preempt": "DUE TO PREEMPTION",
    "requeue": "DUE TO JOB REQUEUE",
    "failure": "DUE TO TASK FAILURE",
    "node": "DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS",
    "cancel": "DUE to SIGNAL Terminated",
}
"""The reason in the message; that of ``scancel`` has a ``to`` in lower case."""

ENDINGS: Final = {
    1: "Hangup", 6: "Aborted (core dumped)", 7: "Bus error (core dumped)", 9: "Killed",
    11: "Segmentation fault (core dumped)", 15: "Terminated",
}  # fmt: skip
"""Slurm's word for a task that a signal ended."""


def cancelled(job: int, step: int | None, node: str, time: datetime, cause: str, reason: str = "") -> str:
    """The line of slurmstepd about a step (or, without ``step``, the batch script) that is being ended."""
    what = f"JOB {job}" if step is None else f"STEP {job}.{step}"
    why = f" *** REASON: {reason}" if reason else ""
    return f"slurmstepd: error: *** {what} ON {node} CANCELLED AT {time:%Y-%m-%dT%H:%M:%S} {CAUSES[cause]}{why} ***"


def task_list(tasks: Sequence[int]) -> str:
    """Numbers of tasks as srun writes them: ``task 3``, ``tasks 0-7,9``."""
    spans: list[list[int]] = []
    for task in sorted(tasks):
        if spans and task == spans[-1][1] + 1:
            spans[-1][1] = task
        else:
            spans.append([task, task])
    listed = ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)
    return f"task{'s' if len(tasks) > 1 else ''} {listed}"


def task_ended(host: str, tasks: Sequence[int], *, signal: int = 0, code: int = 0, memory: bool = False) -> str:
    """The line of srun about tasks of one host that ended badly, by a signal, an exit code or the OOM killer."""
    how = ENDINGS.get(signal, f"Exited with exit code {code}")
    return f"srun: error: {host}: {task_list(tasks)}: {'Out Of Memory' if memory else how}"


def killed_for_memory(job: int, step: int, host: str, task: int, events: int = 1) -> list[TimedLine]:
    """The lines about a step in which the OOM killer of the control group has killed a task."""
    plural = "s" if events > 1 else ""
    stepd = (
        f"slurmstepd: error: Detected {events} oom_kill event{plural} in StepId={job}.{step}. "
        "Some of the step tasks have been OOM Killed."
    )
    return [
        TimedLine(0.4, STDERR, stepd),
        TimedLine(0.9, STDERR, task_ended(host, [task], memory=True)),
    ]


def end_of_step(
    job: int,
    step: int,
    hosts: Sequence[str],
    tasks_per_node: int,
    time: datetime,
    cause: str,
    *,
    answers: bool = True,
    code: int = 0,
) -> list[TimedLine]:
    """The lines of a step that Slurm ends: the wait, the cancellation, then one line a host.

    ``answers`` is False for tasks that do not end by SIGTERM: they are killed after ``KILL_WAIT_S``.
    ``code`` is the exit code of tasks that handle SIGTERM, as a launcher does; 0: the signal ends them.
    """
    wait = f"srun: Job step aborted: Waiting up to {KILL_WAIT_S + 2} seconds for job step to finish."
    said = [
        TimedLine(0.0, STDERR, wait),
        TimedLine(0.002, STDERR, cancelled(job, step, hosts[0], time, cause)),
    ]
    ended_s = 0.6 if answers else KILL_WAIT_S + 0.5
    how = (0 if code else 15) if answers else 9
    for node, host in enumerate(hosts):
        tasks = range(node * tasks_per_node, (node + 1) * tasks_per_node)
        said.append(TimedLine(ended_s + 0.01 * node, STDERR, task_ended(host, tasks, signal=how, code=code)))
    if not answers:
        said.append(TimedLine(ended_s + 0.01 * len(hosts), STDERR, f"srun: Force Terminated StepId={job}.{step}"))
    return said


def lost_node(job: int, step: int, lost: str, first: str, time: datetime) -> list[TimedLine]:
    """The lines of a step one of whose nodes has stopped answering."""
    return [
        TimedLine(0.0, STDERR, f"srun: error: Node failure on {lost}"),
        TimedLine(
            0.003, STDERR, f"srun: Job step aborted: Waiting up to {KILL_WAIT_S + 2} seconds for job step to finish."
        ),
        TimedLine(0.01, STDERR, cancelled(job, step, first, time, "node")),
        TimedLine(KILL_WAIT_S + 2.0, STDERR, "srun: error: Timed out waiting for job step to complete"),
    ]


def node_reason(cause: str, *, reported_mb: int = 0, configured_mb: int = 0) -> str:
    """The reason for a node that Slurm has drained."""
    if cause == "memory":
        return f"Low RealMemory (reported:{reported_mb} < 100.00% of configured:{configured_mb})"
    return {
        "lost": "Not responding",
        "stuck": "Kill task failed",
        "prolog": "Prolog error",
        "boot": "Node unexpectedly rebooted",
    }[cause]
