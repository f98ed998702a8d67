"""Counts the ranks of a node and of a process: numbers, and words that stand for what is there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from fake_torch_dist.launcher.commandline.parser import UsageError


def nproc_per_node(text: str, environment: Mapping[str, str]) -> int:
    """Return the number that --nproc-per-node gives, or that it has counted. Raises UsageError."""
    devices = _devices(environment) if text in ("auto", "gpu") else 0
    if devices:
        return devices
    if text in ("auto", "cpu"):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if text in ("gpu", "xpu"):
        device = {"gpu": "Cuda", "xpu": "Xpu"}[text]
        raise UsageError(
            f"{device} is not available. --nproc-per-node {text} has no device to count; give a number, "
            "or say how many GPUs there are to be: CUDA_VISIBLE_DEVICES=0,1,2,3"
        )
    try:
        count = int(text)
    except ValueError:
        raise UsageError(f"Unsupported nproc_per_node value: {text}: give a number, auto or cpu") from None
    if count < 1:
        raise UsageError(f"nproc_per_node must be > 0, got {count}: a node without ranks does nothing; give 1 or more")
    return count


def ranks_per_process(text: str, ranks_per_node: int) -> int:
    """Return the number that --ranks-per-process gives, which divides the ranks of a node. Raises UsageError."""
    number = ranks_per_node if text == "node" else int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if not number or ranks_per_node % number:
        raise UsageError(
            f"--ranks-per-process is {text!r}: give a number that divides the {ranks_per_node} ranks of a node "
            "(--nproc-per-node), or node for all of them",
            exit_code=2,
        )
    return number


def _devices(environment: Mapping[str, str]) -> int:
    """Return the number of GPUs that the environment says this node has, as no device can be asked; 0 if it does not.

    They are what CUDA would see, what the container runtime gives to a pod, and what Slurm has allocated.
    """
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        listed = [device for device in environment.get(name, "").split(",") if device.strip()]
        if listed and re.fullmatch(r"\d+|-?(GPU|MIG)-[\w/-]+", listed[0].strip()):
            return len(listed)
    count = environment.get("SLURM_GPUS_ON_NODE", "")
    return int(count) if count.isdecimal() else 0
