"""Reasons, messages and exit codes of Kubernetes when it ends a container or a pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GRACE_S: Final = 30
"""Seconds between SIGTERM and SIGKILL, unless the pod sets another time; a hard eviction gives none."""

DISRUPTIONS: Final = {
    "eviction": "TerminationByKubelet",
    "preempt": "PreemptionByScheduler",
    "taint": "DeletionByTaintManager",
    "drain": "EvictionByEvictionAPI",
    "gone": "DeletionByPodGC",
}
"""Reason of the pod's condition ``DisruptionTarget``, by cause."""


@dataclass(frozen=True)
class TerminatedState:
    """The state in which a container or a pod is reported as ended."""

    reason: str
    exit_code: int
    message: str = ""
    phase: str = "Failed"


def exit_code(status: int) -> int:
    """A container's exit code from that of its first process: 128 + n if signal n ended it (``status`` is -n)."""
    return 128 - status if status < 0 else status


def ended(status: int) -> TerminatedState:
    """The state of a container whose first process has ended by itself or by a signal."""
    code = exit_code(status)
    return TerminatedState("Error" if code else "Completed", code, phase="Failed" if code else "Succeeded")


def out_of_memory() -> TerminatedState:
    """The state of a container that the kernel killed at its memory limit."""
    return TerminatedState("OOMKilled", 137)


def evicted(
    container: str, using: str, asked: str, *, threshold: str = "100Mi", available: str = "81204Ki"
) -> TerminatedState:
    """The state of a pod that the kubelet evicted as its node ran low on memory. Quantities are Kubernetes' own."""
    message = (
        f"The node was low on resource: memory. Threshold quantity: {threshold}, available: {available}. Container "
        f"{container} was using {using}, request is {asked}, has larger consumption of memory. "
    )
    return TerminatedState("Evicted", 137, message)


def disrupted(cause: str) -> dict[str, str]:
    """The condition of a pod that is ended for another reason than its own."""
    return {"type": "DisruptionTarget", "status": "True", "reason": DISRUPTIONS[cause]}
