"""One sentence about each field, for ``--help-query-gpu`` and its siblings."""

from __future__ import annotations

PLACES = {
    "device_memory": "the GPU's memory", "dram": "the GPU's memory", "register_file": "the register file",
    "l1_cache": "the L1 cache", "l2_cache": "the L2 cache", "texture_memory": "texture memory", "cbu": "the CBU",
    "sram": "on-chip memories", "total": "all memories",
}  # fmt: skip
SRAM_SOURCES = {
    "l2": "the L2 cache", "sm": "the SMs", "mcu": "microcontrollers", "pcie": "the PCIe unit", "other": "other units",
}  # fmt: skip
ENGINES = {
    "gpu": "a kernel ran", "memory": "memory was read or written", "encoder": "the video encoder worked",
    "decoder": "the video decoder worked", "jpeg": "the JPEG engine worked", "ofa": "the optical flow engine worked",
}  # fmt: skip
REASONS = {
    "supported": "Mask of the reasons for lower clocks that the GPU can report.",
    "active": "Mask of the reasons for lower clocks that hold now.",
    "gpu_idle": "Clocks are low as nothing runs.",
    "applications_clocks_setting": "Clocks are held by the setting of applications clocks.",
    "sw_power_cap": "Clocks are lowered to keep the power limit.",
    "hw_slowdown": "The hardware has halved the clocks or more: heat, a power brake, or a fast trigger.",
    "hw_thermal_slowdown": "The hardware has lowered the clocks as the GPU is too hot.",
    "hw_power_brake_slowdown": "The hardware has lowered the clocks as the server asserts its power brake.",
    "sw_thermal_slowdown": "The driver lowers the clocks as the GPU is above its maximum operating temperature.",
    "sync_boost": "Clocks follow the slowest GPU of a boost group.",
}
DESCRIPTIONS = {
    "timestamp": 'Time of the query, as "YYYY/MM/DD HH:MM:SS.msec".',
    "driver_version": "Version of the installed driver.",
    "kmd_version": "Version of the installed kernel-mode driver.",
    "count": "Number of GPUs in the system.",
    "name": "Product name.",
    "gpu_name": "Product name.",
    "serial": "Serial number that is printed on the board.",
    "gpu_serial": "Serial number that is printed on the board.",
    "uuid": "Globally unique identifier of the GPU.",
    "gpu_uuid": "Globally unique identifier of the GPU.",
    "pci.bus_id": 'PCI address as "domain:bus:device.function", in hex.',
    "gpu_bus_id": 'PCI address as "domain:bus:device.function", in hex.',
    "pci.domain": "PCI domain, in hex.",
    "pci.bus": "PCI bus, in hex.",
    "pci.device": "PCI device, in hex.",
    "pci.baseClass": "PCI base class code, in hex.",
    "pci.subClass": "PCI subclass code, in hex.",
    "pci.device_id": "PCI device and vendor identifiers, in hex.",
    "pci.sub_device_id": "PCI subsystem identifier, in hex.",
    "pcie.link.gen.current": "Generation of the PCIe link now; use pcie.link.gen.gpucurrent.",
    "pcie.link.gen.gpucurrent": "Generation of the PCIe link now; may be lower when idle.",
    "pcie.link.gen.max": "Highest generation of the link that GPU and system both support.",
    "pcie.link.gen.gpumax": "Highest generation that the GPU supports.",
    "pcie.link.gen.hostmax": "Highest generation that the root port supports.",
    "pcie.link.width.current": "Lanes of the PCIe link now; may be fewer when idle.",
    "pcie.link.width.max": "Most lanes that GPU and system both support.",
    "index": "Index of the GPU from 0; may change at a boot.",
    "display_mode": "Whether a display is connected. Deprecated from driver 580 on.",
    "display_attached": "Whether a display is connected.",
    "display_active": "Whether a display is initialized on the GPU.",
    "persistence_mode": "Whether the driver stays loaded without clients.",
    "addressing_mode": 'How the GPU reaches memory of the system: "HMM", "ATS" or "None".',
    "accounting.mode": "Whether statistics of processes are kept.",
    "accounting.buffer_size": "Number of processes whose statistics are kept.",
    "driver_model.current": "Driver model in use; not available on Linux.",
    "driver_model.pending": "Driver model after the next boot; not available on Linux.",
    "vbios_version": "Version of the board's firmware.",
    "inforom.img": "Version of the inforom image.",
    "inforom.oem": "Version of the inforom's OEM object.",
    "inforom.ecc": "Version of the inforom's ECC object.",
    "inforom.pwr": "Version of the inforom's power object.",
    "inforom.checksum_validation": "Whether the inforom's checksum is right.",
    "reset_status.reset_required": "Whether the GPU needs a reset.",
    "reset_status.drain_and_reset_recommended": "Whether work should be drained before a reset.",
    "gpu_recovery_action": "What ends a bad state: None, Reset, Reboot, Drain P2P, Drain and Reset.",
    "gom.current": "Operation mode in use.",
    "gom.pending": "Operation mode after the next boot.",
    "fan.speed": "Intended speed of the fan in per cent of its maximum.",
    "pstate": "Performance state, from P0 (highest) to P12.",
    "memory.total": "Installed memory.",
    "memory.reserved": "Memory that driver and firmware keep.",
    "memory.used": "Memory that contexts have allocated.",
    "memory.free": "Memory that is free.",
    "compute_mode": "Which processes may use the GPU: Default, Exclusive_Process or Prohibited.",
    "compute_cap": "CUDA compute capability.",
    "encoder.stats.sessionCount": "Encoder sessions that run.",
    "encoder.stats.averageFps": "Mean frames per second of the sessions.",
    "encoder.stats.averageLatency": "Mean latency of the sessions in microseconds.",
    "ecc.errors.uncorrected.aggregate.sram.thresholdExceeded": "Whether on-chip errors have passed the threshold.",
    "retired_pages.single_bit_ecc.count": "Pages retired after several single-bit errors.",
    "retired_pages.double_bit.count": "Pages retired after a double-bit error.",
    "retired_pages.pending": "Whether pages are retired at the next boot.",
    "retired_pages.address": "Address of a retired page.",
    "retired_pages.timestamp": "Time at which the page was retired.",
    "retired_pages.cause": "Single Bit ECC or Double Bit ECC.",
    "remapped_rows.correctable": "Rows remapped after correctable errors.",
    "remapped_rows.correctable_inactive": "Rows remapped after correctable errors that are not active.",
    "remapped_rows.uncorrectable": "Rows remapped after an uncorrectable error.",
    "remapped_rows.uncorrectable_inactive": "Rows remapped after an uncorrectable error that are not active.",
    "remapped_rows.pending": "Whether rows are remapped at the next reset.",
    "remapped_rows.failure": "Whether a remapping has ever failed.",
    "temperature.gpu": "Temperature of the die in degrees Celsius.",
    "temperature.gpu.tlimit": "Degrees Celsius that remain to the thermal limit.",
    "temperature.memory": "Temperature of the memory stacks in degrees Celsius.",
    "power.management": "Whether power is managed. Deprecated from driver 590 on.",
    "power.draw": "Power of the board; a mean over a second from Ampere on.",
    "edpp_multiplier": "Ratio of peak to sustained power, in per cent.",
    "c2c.mode": "Whether the link to the CPU's chip is on.",
    "fabric.state": "State of the registration with the NVLink fabric.",
    "fabric.status": "Error of the registration, once it is completed.",
    "fabric.cliqueId": "Clique of the fabric that the GPU is in.",
    "fabric.clusterUuid": "Cluster that the fabric belongs to.",
    "platform.chassis_serial_number": "Serial number of the chassis.",
    "platform.slot_number": "Slot in the chassis, switches counted.",
    "platform.tray_index": "Compute tray in the chassis.",
    "platform.host_id": "Node within the slot.",
    "platform.peer_type": "Peer of the NVLinks: another GPU, or a switch.",
    "platform.module_id": "Module of the GPU in the node.",
    "platform.gpu_fabric_guid": "Identifier of the GPU in the fabric.",
    "hostname": "Host name that was set for the GPU.",
    "bbx.time_run": "Seconds that the GPU has run with the driver loaded.",
    "pid": "Process id.",
    "process_name": "Name of the process.",
    "used_gpu_memory": "Memory that the process's context uses.",
    "vgpu_instance": "Instance of a virtual GPU.",
    "gpu_utilization": "Share of the process's time in which kernels ran.",
    "mem_utilization": "Share of the process's time in which memory was read or written.",
    "max_memory_usage": "Most memory that the process has used.",
    "time": "Milliseconds in which the process had a context.",
    "memory": "Memory clock.",
    "graphics": "Graphics clock that goes with the memory clock.",
}
PREFIXES = {
    "vgpu_driver_capability.": "Capability of the driver for virtual GPUs.",
    "vgpu_device_capability.": "Capability of the GPU for virtual GPUs.",
    "dramEncryption.mode.": "Whether memory is encrypted.",
    "ecc.mode.": "Whether error correction is on.",
    "remapped_rows.histogram.": "Banks of memory by the spare rows that they have left.",
    "module.": "Power of the module, or a limit of it.",
    "gpu.base.": "Setting of the base power of the GPU.",
    "power_smoothing.": "Setting or limit of power smoothing.",
    "power.draw.": "Power of the board, as a mean over a second or at an instant.",
    "power.": "Limit of the board's power.",
    "enforced.power.limit": "Lowest of all limits of the board's power.",
    "clocks.current.": "Clock now.",
    "clocks.applications.": "Clock that is set for applications.",
    "clocks.default_applications.": "Clock of applications without a setting.",
    "clocks.max.": "Highest clock.",
    "mig.mode.": "Whether the GPU is split into instances (MIG).",
    "gsp.mode.": "Whether the GPU's system processor runs its firmware.",
    "protected_memory.": "Memory that confidential computing protects.",
    "fabric.health.": "Condition of the NVLink fabric.",
}


def describe(name: str) -> str:
    """Return the description of a field."""
    last = name.rpartition(".")[2]
    if name in DESCRIPTIONS:
        return DESCRIPTIONS[name]
    if name.startswith("clocks_event_reasons_counters."):
        return f"Microseconds for which this held: {REASONS[last][0].lower()}{REASONS[last][1:]}"
    if name.startswith("clocks_event_reasons."):
        return REASONS[last]
    if name.startswith("utilization."):
        return f"Share of the last sample period in which {ENGINES[last]}, in per cent."
    if name.startswith("ecc.errors."):
        return _errors(name)
    return next(text for prefix, text in PREFIXES.items() if name.startswith(prefix))


def _errors(name: str) -> str:
    _, _, kind, span, *place = name.split(".")
    since = "since the driver was loaded" if span == "volatile" else "in the board's life"
    if place[0] == "sram" and len(place) > 1:
        where = SRAM_SOURCES.get(place[1])
        return f"Uncorrected errors of {where or f'on-chip memories ({place[1].upper()})'} {since}."
    return f"{kind.capitalize()} errors in {PLACES[place[0]]} {since}."
