"""Slurm's lines come in Slurm's order, and name hosts, tasks and causes as Slurm does."""

from __future__ import annotations

from datetime import datetime

import pytest

from accelerate_sim.faults.words import slurm

TIME = datetime(2026, 11, 3, 9, 1, 5)


@pytest.mark.parametrize(
    "cause, words",
    [("time", "DUE TO TIME LIMIT"), ("preempt", "DUE TO PREEMPTION"), ("cancel", "DUE to SIGNAL Terminated"),
     ("node", "DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS")],
)  # fmt: skip
def test_a_cancelled_step_names_the_cause(cause: str, words: str) -> None:
    assert slurm.cancelled(77, 0, "node0", TIME, cause) == (
        f"slurmstepd: error: *** STEP 77.0 ON node0 CANCELLED AT 2026-11-03T09:01:05 {words} ***"
    )
    assert slurm.cancelled(77, None, "node0", TIME, cause).startswith("slurmstepd: error: *** JOB 77 ON node0 ")


@pytest.mark.parametrize(
    "tasks, listed", [([3], "task 3"), (range(8, 16), "tasks 8-15"), ([9, 0, 1, 2, 12], "tasks 0-2,9,12")]
)
def test_tasks_are_listed_in_ranges(tasks: list[int], listed: str) -> None:
    assert slurm.task_list(tasks) == listed


def test_how_a_task_ended() -> None:
    assert slurm.task_ended("node3", [29], signal=9) == "srun: error: node3: task 29: Killed"
    assert slurm.task_ended("node3", [29], signal=11).endswith("task 29: Segmentation fault (core dumped)")
    assert slurm.task_ended("node3", [24, 25], code=3) == "srun: error: node3: tasks 24-25: Exited with exit code 3"
    assert slurm.killed_for_memory(77, 0, "node3", 29)[1].text == "srun: error: node3: task 29: Out Of Memory"
    assert "Detected 2 oom_kill events in StepId=77.0." in slurm.killed_for_memory(77, 0, "node3", 29, 2)[0].text


@pytest.mark.parametrize("answers", [True, False])
def test_tasks_that_do_not_answer_are_killed_after_the_wait(answers: bool) -> None:
    lines = slurm.end_of_step(77, 0, ["node0", "node1"], 8, TIME, "preempt", answers=answers)
    assert [line.after_s for line in lines] == sorted(line.after_s for line in lines)
    assert lines[0].text == "srun: Job step aborted: Waiting up to 32 seconds for job step to finish."
    assert "CANCELLED AT" in lines[1].text
    ending = "Terminated" if answers else "Killed"
    assert [line.text for line in lines[2:4]] == [
        f"srun: error: node0: tasks 0-7: {ending}",
        f"srun: error: node1: tasks 8-15: {ending}",
    ]
    assert (lines[2].after_s > slurm.KILL_WAIT_S) == (not answers)
    assert (lines[-1].text == "srun: Force Terminated StepId=77.0") == (not answers)


def test_a_lost_node_ends_the_step() -> None:
    texts = [line.text for line in slurm.lost_node(77, 0, "node5", "node0", TIME)]
    assert texts[0] == "srun: error: Node failure on node5"
    assert "ON node0 CANCELLED AT" in texts[2]
    assert slurm.node_reason("memory", reported_mb=1, configured_mb=2).startswith("Low RealMemory (reported:1 < ")
