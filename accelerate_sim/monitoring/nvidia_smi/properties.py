"""All properties of a GPU, and of a process on it, that can be queried, by nvidia-smi's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from accelerate_sim.monitoring.nvidia_smi.overview import fan_pct
from accelerate_sim.monitoring.nvidia_smi.reading import BRAKE, IDLE, POWER_CAP, SLOWDOWN, THERMAL, Gpu, Reading

NOT_AVAILABLE = "[N/A]"


@dataclass(frozen=True, slots=True)
class Property:
    """The function that gives ``value`` of a GPU, and the unit that follows it if it is available."""

    value: Callable[[Reading, Gpu], object]
    unit: str = ""


def _fixed(value: object, unit: str = "") -> Property:
    return Property(lambda reading, gpu: value, unit)


def _of_gpu(value: Callable[[Gpu], object], unit: str = "") -> Property:
    return Property(lambda reading, gpu: value(gpu), unit)


def _reason(bits: int) -> Property:
    return _of_gpu(lambda gpu: "Active" if gpu.reasons & bits else "Not Active")


def _if_ecc(value: object) -> Property:
    return _of_gpu(lambda gpu: value if gpu.board.has_ecc else NOT_AVAILABLE)


def _if_mig(value: object) -> Property:
    return _of_gpu(lambda gpu: value if gpu.board.has_mig else NOT_AVAILABLE)


def _ecc_counters() -> Iterable[tuple[str, Property]]:
    for kind in ("corrected", "uncorrected"):
        for since in ("volatile", "aggregate"):
            for place in ("dram", "sram", "total"):
                yield f"ecc.errors.{kind}.{since}.{place}", _if_ecc(0)
            for place in ("device_memory", "register_file", "l1_cache", "l2_cache", "texture_memory", "cbu"):
                yield f"ecc.errors.{kind}.{since}.{place}", _fixed(NOT_AVAILABLE)


def timestamp(reading: Reading) -> str:
    """A time in nvidia-smi's format: ``2026/01/05 09:30:00.250``."""
    return reading.time.strftime("%Y/%m/%d %H:%M:%S.") + f"{reading.time.microsecond // 1000:03d}"


def _memory_clock(gpu: Gpu) -> int:
    return gpu.board.memory_clock_mhz


GPU_PROPERTIES: Mapping[str, Property] = {
    "timestamp": Property(lambda reading, gpu: timestamp(reading)),
    "driver_version": Property(lambda reading, gpu: reading.board.driver.version),
    "count": Property(lambda reading, gpu: reading.num_gpus),
    "name": _of_gpu(lambda gpu: gpu.name),
    "serial": _of_gpu(lambda gpu: gpu.serial if gpu.board.has_ecc else NOT_AVAILABLE),
    "uuid": _of_gpu(lambda gpu: gpu.uuid),
    "pci.bus_id": _of_gpu(lambda gpu: gpu.bus_id),
    "pci.domain": _of_gpu(lambda gpu: f"0x{gpu.pci[0]:04X}"),
    "pci.bus": _of_gpu(lambda gpu: f"0x{gpu.pci[1]:02X}"),
    "pci.device": _fixed("0x00"),
    "pci.device_id": _of_gpu(lambda gpu: f"0x{gpu.board.device_id:04X}10DE"),
    "pcie.link.gen.current": _of_gpu(lambda gpu: gpu.board.pcie_generation),
    "pcie.link.gen.gpucurrent": _of_gpu(lambda gpu: gpu.board.pcie_generation),
    "pcie.link.gen.max": _of_gpu(lambda gpu: gpu.board.pcie_generation),
    "pcie.link.gen.gpumax": _of_gpu(lambda gpu: gpu.board.pcie_generation),
    "pcie.link.gen.hostmax": _of_gpu(lambda gpu: gpu.board.pcie_generation),
    "pcie.link.width.current": _fixed(16),
    "pcie.link.width.max": _fixed(16),
    "index": _of_gpu(lambda gpu: gpu.index),
    "display_mode": _fixed("Disabled"),
    "display_active": _fixed("Disabled"),
    "persistence_mode": _fixed("Enabled"),
    "accounting.mode": _fixed("Disabled"),
    "accounting.buffer_size": _fixed(4000),
    "driver_model.current": _fixed(NOT_AVAILABLE),
    "driver_model.pending": _fixed(NOT_AVAILABLE),
    "vbios_version": _of_gpu(lambda gpu: gpu.board.vbios),
    "inforom.img": _fixed(NOT_AVAILABLE),
    "inforom.oem": _fixed(NOT_AVAILABLE),
    "inforom.ecc": _fixed(NOT_AVAILABLE),
    "inforom.pwr": _fixed(NOT_AVAILABLE),
    "gom.current": _fixed(NOT_AVAILABLE),
    "gom.pending": _fixed(NOT_AVAILABLE),
    "fan.speed": _of_gpu(lambda gpu: NOT_AVAILABLE if gpu.board.has_ecc else fan_pct(gpu), "%"),
    "pstate": _fixed("P0"),
    "clocks_event_reasons.supported": _fixed("0x00000000000001FF"),
    "clocks_event_reasons.active": _of_gpu(lambda gpu: f"0x{gpu.reasons:016X}"),
    "clocks_event_reasons.gpu_idle": _reason(IDLE),
    "clocks_event_reasons.applications_clocks_setting": _reason(0),
    "clocks_event_reasons.sw_power_cap": _reason(POWER_CAP),
    "clocks_event_reasons.hw_slowdown": _reason(SLOWDOWN),
    "clocks_event_reasons.hw_thermal_slowdown": _reason(0),
    "clocks_event_reasons.hw_power_brake_slowdown": _reason(BRAKE),
    "clocks_event_reasons.sw_thermal_slowdown": _reason(THERMAL),
    "clocks_event_reasons.sync_boost": _reason(0),
    "memory.total": _of_gpu(lambda gpu: gpu.total_mib, "MiB"),
    "memory.reserved": _of_gpu(lambda gpu: gpu.reserved_mib, "MiB"),
    "memory.used": _of_gpu(lambda gpu: gpu.used_mib, "MiB"),
    "memory.free": _of_gpu(lambda gpu: gpu.free_mib, "MiB"),
    "compute_mode": _fixed("Default"),
    "compute_cap": _of_gpu(lambda gpu: gpu.board.compute_capability),
    "utilization.gpu": _of_gpu(lambda gpu: gpu.utilization_pct, "%"),
    "utilization.memory": _of_gpu(lambda gpu: gpu.memory_utilization_pct, "%"),
    "utilization.encoder": _fixed(0, "%"),
    "utilization.decoder": _fixed(0, "%"),
    "utilization.jpeg": _fixed(0, "%"),
    "utilization.ofa": _fixed(0, "%"),
    "encoder.stats.sessionCount": _fixed(0),
    "encoder.stats.averageFps": _fixed(0),
    "encoder.stats.averageLatency": _fixed(0),
    "ecc.mode.current": _if_ecc("Enabled"),
    "ecc.mode.pending": _if_ecc("Enabled"),
    **dict(_ecc_counters()),
    "retired_pages.single_bit_ecc.count": _fixed(NOT_AVAILABLE),
    "retired_pages.double_bit.count": _fixed(NOT_AVAILABLE),
    "retired_pages.pending": _fixed(NOT_AVAILABLE),
    "temperature.gpu": _of_gpu(lambda gpu: gpu.temperature_c),
    "temperature.gpu.tlimit": _of_gpu(
        lambda gpu: gpu.slowdown_c - gpu.temperature_c if gpu.board.has_temperature_margin else NOT_AVAILABLE
    ),
    "temperature.memory": _of_gpu(lambda gpu: gpu.memory_temperature_c if gpu.board.has_ecc else "N/A"),
    "power.management": _fixed("Enabled"),
    "power.draw": _of_gpu(lambda gpu: f"{gpu.power_w:.2f}", "W"),
    "power.draw.average": _of_gpu(lambda gpu: f"{gpu.power_w:.2f}", "W"),
    "power.draw.instant": _of_gpu(lambda gpu: f"{gpu.power_w:.2f}", "W"),
    "power.limit": _of_gpu(lambda gpu: f"{gpu.power_limit_w:.2f}", "W"),
    "enforced.power.limit": _of_gpu(lambda gpu: f"{gpu.power_limit_w:.2f}", "W"),
    "power.default_limit": _of_gpu(lambda gpu: f"{gpu.power_limit_w:.2f}", "W"),
    "power.min_limit": _of_gpu(lambda gpu: f"{min_power_w(gpu):.2f}", "W"),
    "power.max_limit": _of_gpu(lambda gpu: f"{gpu.power_limit_w:.2f}", "W"),
    "clocks.current.graphics": _of_gpu(lambda gpu: gpu.clock_mhz, "MHz"),
    "clocks.current.sm": _of_gpu(lambda gpu: gpu.clock_mhz, "MHz"),
    "clocks.current.memory": _of_gpu(_memory_clock, "MHz"),
    "clocks.current.video": _of_gpu(lambda gpu: video_clock_mhz(gpu.clock_mhz), "MHz"),
    "clocks.applications.graphics": _of_gpu(lambda gpu: gpu.max_clock_mhz, "MHz"),
    "clocks.applications.memory": _of_gpu(_memory_clock, "MHz"),
    "clocks.default_applications.graphics": _of_gpu(lambda gpu: gpu.max_clock_mhz, "MHz"),
    "clocks.default_applications.memory": _of_gpu(_memory_clock, "MHz"),
    "clocks.max.graphics": _of_gpu(lambda gpu: gpu.max_clock_mhz, "MHz"),
    "clocks.max.sm": _of_gpu(lambda gpu: gpu.max_clock_mhz, "MHz"),
    "clocks.max.memory": _of_gpu(_memory_clock, "MHz"),
    "mig.mode.current": _if_mig("Disabled"),
    "mig.mode.pending": _if_mig("Disabled"),
    "gsp.mode.current": _fixed("Enabled"),
    "gsp.mode.default": _fixed("Enabled"),
}

APP_PROPERTIES: Mapping[str, Property] = {
    "timestamp": GPU_PROPERTIES["timestamp"],
    "gpu_name": GPU_PROPERTIES["name"],
    "gpu_bus_id": GPU_PROPERTIES["pci.bus_id"],
    "gpu_serial": GPU_PROPERTIES["serial"],
    "gpu_uuid": GPU_PROPERTIES["uuid"],
    "pid": _of_gpu(lambda gpu: gpu.pid),
    "process_name": _of_gpu(lambda gpu: gpu.command),
    "used_gpu_memory": _of_gpu(lambda gpu: gpu.process_mib, "MiB"),
}

GPU_ALIASES = {
    "gpu_name": "name",
    "gpu_serial": "serial",
    "gpu_uuid": "uuid",
    "gpu_bus_id": "pci.bus_id",
    "clocks.gr": "clocks.current.graphics",
    "clocks.sm": "clocks.current.sm",
    "clocks.mem": "clocks.current.memory",
    "clocks.video": "clocks.current.video",
    "clocks.applications.gr": "clocks.applications.graphics",
    "clocks.applications.mem": "clocks.applications.memory",
    "clocks.default_applications.gr": "clocks.default_applications.graphics",
    "clocks.default_applications.mem": "clocks.default_applications.memory",
    "clocks.max.gr": "clocks.max.graphics",
    "clocks.max.mem": "clocks.max.memory",
} | {name.replace("event", "throttle", 1): name for name in GPU_PROPERTIES if name.startswith("clocks_event_reasons.")}
"""Aliases of properties; the header prints the first name."""
APP_ALIASES = {"name": "process_name", "used_memory": "used_gpu_memory"}


def min_power_w(gpu: Gpu) -> float:
    """The lowest power limit that can be set: on most boards two sevenths of the default."""
    return round(gpu.power_limit_w * 2 / 7 / 50) * 50.0


def video_clock_mhz(clock_mhz: int) -> int:
    """Clock of the video engines: about 0.78 of the SM clock (1,545 of 1,980 MHz on an H100)."""
    return round(clock_mhz * 0.78 / 15) * 15
