"""Fields that say which board it is, where it sits, and how it is set up."""

from __future__ import annotations

from accelerate_sim.monitoring.nvidia_smi.fields.field import (
    NOT_AVAILABLE,
    Field,
    Fields,
    deprecated,
    fixed,
    if_,
    of_gpu,
    since,
    unavailable,
    yes_no,
)
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading


def timestamp(reading: Reading) -> str:
    """A time in nvidia-smi's format: ``2026/01/05 09:30:00.250``."""
    return reading.time.strftime("%Y/%m/%d %H:%M:%S.") + f"{reading.time.microsecond // 1000:03d}"


def _generation() -> Field:
    return of_gpu(lambda gpu: gpu.board.pcie_generation)


def _inforom(place: int) -> Field:
    return of_gpu(lambda gpu: gpu.board.inforom[place] if gpu.board.inforom else NOT_AVAILABLE)


def _needs_reset(gpu: Gpu) -> str:
    return yes_no(gpu.health.needs_reset)


_RESET = {
    name: of_gpu(_needs_reset)._replace(until=570, deprecated=570)
    for name in ("reset_status.reset_required", "reset_status.drain_and_reset_recommended")
}

IDENTITY: Fields = {
    "timestamp": Field(lambda reading, gpu: timestamp(reading)),
    "driver_version": Field(lambda reading, gpu: reading.board.driver.version),
    **since(610, {"kmd_version": Field(lambda reading, gpu: reading.board.driver.version)}),
    "vgpu_driver_capability.heterogenous_multivGPU": unavailable(),
    "count": Field(lambda reading, gpu: reading.num_gpus),
    "name": of_gpu(lambda gpu: gpu.name, "", "gpu_name"),
    "serial": if_(lambda gpu: gpu.board.has_ecc, lambda gpu: gpu.serial, "", "gpu_serial"),
    "uuid": of_gpu(lambda gpu: gpu.uuid, "", "gpu_uuid"),
    "pci.bus_id": of_gpu(lambda gpu: gpu.bus_id, "", "gpu_bus_id"),
    "pci.domain": of_gpu(lambda gpu: f"0x{gpu.pci[0]:04X}"),
    "pci.bus": of_gpu(lambda gpu: f"0x{gpu.pci[1]:02X}"),
    "pci.device": fixed("0x00"),
    "pci.baseClass": fixed("0x3"),
    "pci.subClass": of_gpu(lambda gpu: "0x2" if gpu.board.has_ecc else "0x0"),
    "pci.device_id": of_gpu(lambda gpu: f"0x{gpu.board.device_id:04X}10DE"),
    "pci.sub_device_id": of_gpu(lambda gpu: f"0x{gpu.board.subsystem_id:04X}10DE"),
    "vgpu_device_capability.fractional_multiVgpu": unavailable(),
    "vgpu_device_capability.heterogeneous_timeSlice_profile": unavailable(),
    "vgpu_device_capability.heterogeneous_timeSlice_sizes": unavailable(),
    **since(570, {"vgpu_device_capability.homogeneous_placements": unavailable()}),
    **since(
        580,
        {
            "vgpu_device_capability.mig_timeSlicing": unavailable(),
            "vgpu_device_capability.mig_timeSlicing_mode": unavailable(),
        },
    ),
    "pcie.link.gen.current": _generation(),
    "pcie.link.gen.gpucurrent": _generation(),
    "pcie.link.gen.max": _generation(),
    "pcie.link.gen.gpumax": _generation(),
    "pcie.link.gen.hostmax": _generation(),
    "pcie.link.width.current": fixed(16),
    "pcie.link.width.max": fixed(16),
    "index": of_gpu(lambda gpu: gpu.index),
    **deprecated(580, {"display_mode": fixed("Disabled")}),
    **since(580, {"display_attached": of_gpu(lambda gpu: yes_no(gpu.board.has_ecc))}),
    "display_active": fixed("Disabled"),
    "persistence_mode": fixed("Enabled"),
    "addressing_mode": of_gpu(lambda gpu: "ATS" if gpu.board.is_superchip else "None"),
    "accounting.mode": fixed("Disabled"),
    "accounting.buffer_size": fixed(4000),
    "driver_model.current": unavailable(),
    "driver_model.pending": unavailable(),
    "vbios_version": of_gpu(lambda gpu: gpu.board.vbios),
    "inforom.img": _inforom(0)._replace(aliases=("inforom.image",)),
    "inforom.oem": _inforom(1),
    "inforom.ecc": _inforom(2),
    "inforom.pwr": unavailable("", "inforom.power"),
    **since(580, {"inforom.checksum_validation": if_(lambda gpu: gpu.board.inforom, lambda gpu: "valid")}),
    **_RESET,
    **since(570, {"gpu_recovery_action": of_gpu(lambda gpu: gpu.health.recovery_action)}),
    "gom.current": unavailable("", "gpu_operation_mode.current"),
    "gom.pending": unavailable("", "gpu_operation_mode.pending"),
}
