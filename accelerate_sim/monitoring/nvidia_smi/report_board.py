"""``-q``: identity of a board and its connections."""

from __future__ import annotations

from collections.abc import Iterable

from accelerate_sim.monitoring.nvidia_smi.reading import Gpu
from accelerate_sim.monitoring.nvidia_smi.readings import has_sparsity_mode, is_on_fabric
from accelerate_sim.monitoring.nvidia_smi.report_entry import DEPRECATED, NA, ReportEntry, all_na, section


def identity(gpu: Gpu) -> Iterable[ReportEntry]:
    """Entries of names, numbers and modes."""
    board = gpu.board
    mig = "Disabled" if board.has_mig else NA
    yield ReportEntry("Product Name", "product_name", gpu.name)
    yield ReportEntry("Product Brand", "product_brand", gpu.brand)
    yield ReportEntry("Product Architecture", "product_architecture", gpu.architecture)
    yield ReportEntry("Display Mode", "display_mode", DEPRECATED if gpu.branch >= 580 else "Disabled")
    if gpu.branch >= 580:
        yield ReportEntry("Display Attached", "display_attached", "Yes" if board.has_ecc else "No")
    yield ReportEntry("Display Active", "display_active", "Disabled")
    yield ReportEntry("Persistence Mode", "persistence_mode", "Enabled")
    yield ReportEntry("Addressing Mode", "addressing_mode", "ATS" if board.is_superchip else "None")
    yield section(
        "MIG Mode", "mig_mode", ReportEntry("Current", "current_mig", mig), ReportEntry("Pending", "pending_mig", mig)
    )
    yield ReportEntry("", "mig_devices", "None")
    yield ReportEntry("Accounting Mode", "accounting_mode", "Disabled")
    yield ReportEntry("Accounting Mode Buffer Size", "accounting_mode_buffer_size", "4000")
    yield section("Driver Model", "driver_model", *all_na(("Current", "current_dm"), ("Pending", "pending_dm")))
    yield ReportEntry("Serial Number", "serial", gpu.serial if board.has_ecc else NA)
    yield ReportEntry("GPU UUID", "uuid", gpu.uuid)
    if gpu.branch >= 580:
        yield ReportEntry("GPU PDI", "pdi", f"0x{gpu.uuid.replace('-', '')[3:19]}")
    yield ReportEntry("Minor Number", "minor_number", str(gpu.index))
    yield ReportEntry("VBIOS Version", "vbios_version", board.vbios)
    yield ReportEntry("MultiGPU Board", "multigpu_board", "No")
    yield ReportEntry("Board ID", "board_id", f"0x{gpu.pci[0] << 16 | gpu.pci[1] << 8:x}")
    yield ReportEntry("Board Part Number", "board_part_number", board.part_number or NA)
    yield ReportEntry("GPU Part Number", "gpu_part_number", f"{board.device_id:04X}-{board.gpu_part}")
    yield ReportEntry("FRU Part Number", "gpu_fru_part_number", NA)
    yield _module(gpu)
    image, oem, ecc = board.inforom or (NA, NA, NA)
    yield section(
        "Inforom Version",
        "inforom_version",
        ReportEntry("Image Version", "img_version", image),
        ReportEntry("OEM Object", "oem_object", oem),
        ReportEntry("ECC Object", "ecc_object", ecc),
        ReportEntry("Power Management Object", "pwr_object", NA),
    )
    flush = all_na(("Latest Timestamp", "latest_timestamp"), ("Latest Duration", "latest_duration"))
    yield section("Inforom BBX Object Flush", "inforom_bbx_flush", *flush)
    if gpu.branch >= 610:
        yield section("Inforom Time Data", "inforom_time_data", ReportEntry("Time Run", "time_run", NA))
    modes = all_na(("Current", "current_gom"), ("Pending", "pending_gom"))
    yield section("GPU Operation Mode", "gpu_operation_mode", *modes)
    c2c = "Enabled" if board.is_superchip else "Disabled"
    yield ReportEntry("GPU C2C Mode", "c2c_mode", c2c if has_sparsity_mode(gpu) else NA)
    yield section(
        "GPU Virtualization Mode",
        "gpu_virtualization_mode",
        ReportEntry("Virtualization Mode", "virtualization_mode", "None"),
        ReportEntry("Host VGPU Mode", "host_vgpu_mode", NA),
        ReportEntry("vGPU Heterogeneous Mode", "vgpu_heterogeneous_mode", NA),
    )
    yield from _recovery(gpu)
    has_gsp = board.architecture != "Volta"
    yield ReportEntry("GSP Firmware Version", "gsp_firmware_version", board.driver.version if has_gsp else NA)
    yield section("IBMNPU", "ibmnpu", ReportEntry("Relaxed Ordering Mode", "relaxed_ordering_mode", NA))


def _module(gpu: Gpu) -> ReportEntry:
    """The place of the GPU in its node: one number, and from driver 570 on a section."""
    number = str(gpu.index + 1)
    if gpu.branch < 570:
        return ReportEntry("Module ID", "gpu_module_id", number)
    unknown = (
        ("Chassis Serial Number", "chassis_serial_number"), ("Slot Number", "slot_number"),
        ("Tray Index", "tray_index"), ("Host ID", "host_id"), ("Peer Type", "peer_type"),
    )  # fmt: skip
    module, guid = ReportEntry("Module Id", "module_id", number), ReportEntry("GPU Fabric GUID", "gpu_fabric_guid", NA)
    return section("Platform Info", "platformInfo", *all_na(*unknown), module, guid)


def _recovery(gpu: Gpu) -> Iterable[ReportEntry]:
    """The driver's advice after an error: two flags, and from driver 570 on an action."""
    required = "Yes" if gpu.health.needs_reset else "No"
    drain = required if gpu.board.has_mig else NA
    if gpu.branch >= 570:
        required = drain = DEPRECATED
    if gpu.branch < 580:
        yield section(
            "GPU Reset Status",
            "gpu_reset_status",
            ReportEntry("Reset Required", "reset_required", required),
            ReportEntry("Drain and Reset Recommended", "drain_and_reset_recommended", drain),
        )
    if gpu.branch >= 570:
        yield ReportEntry("GPU Recovery Action", "gpu_recovery_action", gpu.health.recovery_action)


def pci(gpu: Gpu) -> ReportEntry:
    """Entries of the PCI address, link and traffic."""
    domain, bus = gpu.pci
    generation, device = str(gpu.board.pcie_generation), f"{gpu.board.device_id:04X}10DE"
    subclass, subsystem = "2" if gpu.board.has_ecc else "0", f"{gpu.board.subsystem_id:04X}10DE"
    atomics = all_na(("Atomic Caps Outbound", "atomic_caps_outbound"), ("Atomic Caps Inbound", "atomic_caps_inbound"))
    link = section(
        "GPU Link Info",
        "pci_gpu_link_info",
        section(
            "PCIe Generation",
            "pcie_gen",
            ReportEntry("Max", "max_link_gen", generation),
            ReportEntry("Current", "current_link_gen", generation),
            ReportEntry("Device Current", "device_current_link_gen", generation),
            ReportEntry("Device Max", "max_device_link_gen", generation),
            ReportEntry("Host Max", "max_host_link_gen", generation),
        ),
        section(
            "Link Width",
            "link_widths",
            ReportEntry("Max", "max_link_width", "16x"),
            ReportEntry("Current", "current_link_width", "16x"),
        ),
    )
    return section(
        "PCI",
        "pci",
        ReportEntry("Bus", "pci_bus", f"0x{bus:02X}", f"{bus:02X}"),
        ReportEntry("Device", "pci_device", "0x00", "00"),
        ReportEntry("Domain", "pci_domain", f"0x{domain:04X}", f"{domain:04X}"),
        ReportEntry("Base Classcode", "pci_base_class", "0x3", "3"),
        ReportEntry("Sub Classcode", "pci_sub_class", f"0x{subclass}", subclass),
        ReportEntry("Device Id", "pci_device_id", f"0x{device}", device),
        ReportEntry("Bus Id", "pci_bus_id", gpu.bus_id),
        ReportEntry("Sub System Id", "pci_sub_system_id", f"0x{subsystem}", subsystem),
        link,
        section(
            "Bridge Chip", "pci_bridge_chip", *all_na(("Type", "bridge_chip_type"), ("Firmware", "bridge_chip_fw"))
        ),
        ReportEntry("Replays Since Reset", "replay_counter", str(gpu.health.pcie_replays)),
        ReportEntry("Replay Number Rollovers", "replay_rollover_counter", "0"),
        ReportEntry("Tx Throughput", "tx_util", f"{gpu.pcie_kb_per_s} KB/s"),
        ReportEntry("Rx Throughput", "rx_util", f"{gpu.pcie_kb_per_s} KB/s"),
        *(atomics if gpu.branch >= 570 else reversed(atomics)),
    )


def fabric(gpu: Gpu) -> ReportEntry:
    """Entries of the NVLink domain."""
    joined = is_on_fabric(gpu)
    health = (
        ("Summary", "summary", 580),
        ("Bandwidth", "bandwidth", 550),
        ("Route Recovery in progress", "route_recovery_in_progress", 570),
        ("Route Unhealthy", "route_unhealthy", 570),
        ("Access Timeout Recovery", "access_timeout_recovery", 570),
        ("Incorrect Configuration", "incorrect_configuration", 580),
        ("Partition Assigned", "partition_assigned", 610),
    )
    known = all_na(*((label, tag) for label, tag, branch in health if gpu.branch >= branch))
    return section(
        "Fabric",
        "fabric",
        ReportEntry("State", "state", "Completed" if joined else NA),
        ReportEntry("Status", "status", "Success" if joined else NA),
        ReportEntry("CliqueId", "cliqueId", "0" if joined else NA),
        ReportEntry("ClusterUUID", "clusterUuid", "00000000-0000-0000-0000-000000000000" if joined else NA),
        section("Health", "health", *known),
    )


def capabilities(gpu: Gpu) -> Iterable[ReportEntry]:
    """The entries after the processes."""
    if gpu.branch >= 570:
        yield section("Capabilities", "capabilities", ReportEntry("EGM", "egm", "disabled"))
