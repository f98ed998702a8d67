"""Kubernetes' reasons and exit codes follow from how the first process of a container ended."""

from __future__ import annotations

import pytest

from accelerate_sim.faults.words import kubernetes


@pytest.mark.parametrize(
    "status, code, reason",
    [(0, 0, "Completed"), (1, 1, "Error"), (-9, 137, "Error"), (-15, 143, "Error"), (-6, 134, "Error")],
)
def test_a_signal_is_added_to_128(status: int, code: int, reason: str) -> None:
    ending = kubernetes.ended(status)
    assert (ending.exit_code, ending.reason) == (code, reason)
    assert ending.phase == ("Failed" if code else "Succeeded")


def test_memory_has_reasons_of_its_own() -> None:
    assert kubernetes.out_of_memory() == kubernetes.TerminatedState("OOMKilled", 137)
    evicted = kubernetes.evicted("trainer", "1900Gi", "1500Gi")
    assert evicted.reason == "Evicted"
    assert (
        "Container trainer was using 1900Gi, request is 1500Gi, has larger consumption of memory. " in evicted.message
    )


def test_a_disruption_names_who_caused_it() -> None:
    condition = kubernetes.disrupted("preempt")
    assert condition == {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
