"""All fields of ``--query-gpu``, in the tool's order."""

from __future__ import annotations

from accelerate_sim.monitoring.nvidia_smi.fields.errors import ERRORS
from accelerate_sim.monitoring.nvidia_smi.fields.field import Field, Fields, fixed, if_, of_gpu, since, unavailable
from accelerate_sim.monitoring.nvidia_smi.fields.identity import IDENTITY
from accelerate_sim.monitoring.nvidia_smi.fields.state import CLOCKS, LOAD, POWER
from accelerate_sim.monitoring.nvidia_smi.readings import is_on_fabric

NO_FABRIC = "N/A"
"""Fields of the fabric print this without brackets."""


def _fabric(value: str) -> Field:
    return of_gpu(lambda gpu: value if is_on_fabric(gpu) else NO_FABRIC)


def _health(name: str, branch: int) -> tuple[str, Field]:
    return f"fabric.health.{name}", fixed(NO_FABRIC)._replace(since=branch)


MODES: Fields = {
    "mig.mode.current": if_(lambda gpu: gpu.board.has_mig, lambda gpu: "Disabled"),
    "mig.mode.pending": if_(lambda gpu: gpu.board.has_mig, lambda gpu: "Disabled"),
    "gsp.mode.current": if_(lambda gpu: gpu.board.architecture != "Volta", lambda gpu: "Enabled"),
    "gsp.mode.default": if_(lambda gpu: gpu.board.architecture != "Volta", lambda gpu: "Enabled"),
    "c2c.mode": if_(
        lambda gpu: gpu.board.has_ecc and gpu.board.architecture in ("Hopper", "Blackwell"),
        lambda gpu: "Enabled" if gpu.board.is_superchip else "Disabled",
    ),
    "protected_memory.total": fixed(0, "MiB"),
    "protected_memory.used": fixed(0, "MiB"),
    "protected_memory.free": fixed(0, "MiB"),
}

FABRIC: Fields = {
    "fabric.state": _fabric("Completed"),
    "fabric.status": _fabric("Success"),
    "fabric.cliqueId": _fabric("0"),
    "fabric.clusterUuid": _fabric("00000000-0000-0000-0000-000000000000"),
    **dict(
        _health(name, branch)
        for name, branch in (
            ("summary", 580), ("bandwidth", 550), ("route_recovery_in_progress", 570), ("route_unhealthy", 570),
            ("access_timeout_recovery", 570), ("incorrect_configuration", 580), ("partition_assigned", 610),
        )
    ),
    **since(
        570,
        {
            "platform.chassis_serial_number": fixed(""),
            "platform.slot_number": fixed(0),
            "platform.tray_index": fixed(0),
            "platform.host_id": fixed(1),
            "platform.peer_type": fixed("Direct Connected"),
            "platform.module_id": of_gpu(lambda gpu: gpu.index + 1),
            "platform.gpu_fabric_guid": fixed("0x0000000000000000"),
        },
    ),
    **since(580, {"hostname": unavailable()}),
    **since(610, {"bbx.time_run": unavailable("seconds")}),
}  # fmt: skip

GPU_FIELDS: Fields = {**IDENTITY, **LOAD, **ERRORS, **POWER, **CLOCKS, **MODES, **FABRIC}
