"""A step of Slurm as its environment variables describe it: tasks of a node, and the host of the first task."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from accelerate_sim.process.place_variables import count, wrong

_NO_STEP: Final = 0xFFFFFFF0
"""Least of Slurm's step ids that are no step of srun: of batch scripts, of extern and interactive steps."""
_NODE_LISTS: Final = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")


def in_step(environ: Mapping[str, str]) -> bool:
    """True in a step of srun; a batch script has SLURM_PROCID = 0, too."""
    step = environ.get("SLURM_STEP_ID", "")
    if step.isdecimal():
        return int(step) < _NO_STEP
    return any(environ.get(f"SLURM_STEP_{name}") for name in ("NODELIST", "NUM_TASKS", "TASKS_PER_NODE"))


def num_tasks(environ: Mapping[str, str]) -> int:
    """The number of tasks of the step; 0 if Slurm does not say."""
    return count(environ, "SLURM_STEP_NUM_TASKS") or count(environ, "SLURM_NTASKS")


def tasks_per_node(environ: Mapping[str, str]) -> str:
    """The number of this step's tasks on each node; empty if Slurm does not say. ConfigError if nodes differ."""
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"):
        text = environ.get(name, "")
        counts = set(re.findall(r"(\d+)(?:\(x\d+\))?", re.sub(r"\(x\d+\)", "", text)))
        if len(counts) == 1:
            return str(counts.pop())
        if counts:
            way_out = "Start as many tasks on each node, e.g. with srun --ntasks-per-node."
            raise wrong(name, text, "nodes would differ in size", way_out)
    tasks = num_tasks(environ)
    nodes = count(environ, "SLURM_STEP_NUM_NODES") or count(environ, "SLURM_NNODES")
    if nodes and tasks % nodes == 0:
        return str(tasks // nodes)
    return environ.get("SLURM_NTASKS_PER_NODE", "")


def host_of_rank_0(environ: Mapping[str, str]) -> str:
    """The first host of Slurm's step; empty if Slurm has not started the job."""
    nodes = next((environ[name] for name in _NODE_LISTS if environ.get(name)), "")
    first = first_host(nodes)
    if first:
        with suppress(OSError):
            socket.getaddrinfo(first, None)
            return first
    return environ.get("SLURM_LAUNCH_NODE_IPADDR", first)  # srun runs on the first node of a batch job


def first_host(nodes: str) -> str:
    """The first host of a list in Slurm's notation: gpu003 of gpu[003-005,9],other."""
    first = re.match(r"(?:[^,\[]|\[[^]]*\])*", nodes)
    return re.sub(r"\[(\d+)[^]]*\]", r"\1", first[0]) if first else ""
