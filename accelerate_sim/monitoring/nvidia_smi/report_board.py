"""``-q``: identity of a board and its connections."""

from __future__ import annotations

from collections.abc import Iterable

from accelerate_sim.monitoring.nvidia_smi.reading import Gpu
from accelerate_sim.monitoring.nvidia_smi.readings import has_sparsity_mode, is_on_fabric
from accelerate_sim.monitoring.nvidia_smi.report_entry import DEPRECATED, NA, Entry, all_na, section


def identity(gpu: Gpu) -> Iterable[Entry]:
    """Entries of names, numbers and modes."""
    board = gpu.board
    mig = "Disabled" if board.has_mig else NA
    yield Entry("Product Name", "product_name", gpu.name)
    yield Entry("Product Brand", "product_brand", gpu.brand)
    yield Entry("Product Architecture", "product_architecture", gpu.architecture)
    yield Entry("Display Mode", "display_mode", DEPRECATED if gpu.branch >= 580 else "Disabled")
    if gpu.branch >= 580:
        yield Entry("Display Attached", "display_attached", "Yes" if board.has_ecc else "No")
    yield Entry("Display Active", "display_active", "Disabled")
    yield Entry("Persistence Mode", "persistence_mode", "Enabled")
    yield Entry("Addressing Mode", "addressing_mode", "ATS" if board.is_superchip else "None")
    yield section("MIG Mode", "mig_mode", Entry("Current", "current_mig", mig), Entry("Pending", "pending_mig", mig))
    yield Entry("", "mig_devices", "None")
    yield Entry("Accounting Mode", "accounting_mode", "Disabled")
    yield Entry("Accounting Mode Buffer Size", "accounting_mode_buffer_size", "4000")
    yield section("Driver Model", "driver_model", *all_na(("Current", "current_dm"), ("Pending", "pending_dm")))
    yield Entry("Serial Number", "serial", gpu.serial if board.has_ecc else NA)
    yield Entry("GPU UUID", "uuid", gpu.uuid)
    if gpu.branch >= 580:
        yield Entry("GPU PDI", "pdi", f"0x{gpu.uuid.replace('-', '')[3:19]}")
    yield Entry("Minor Number", "minor_number", str(gpu.index))
    yield Entry("VBIOS Version", "vbios_version", board.vbios)
    yield Entry("MultiGPU Board", "multigpu_board", "No")
    yield Entry("Board ID", "board_id", f"0x{gpu.pci[0] << 16 | gpu.pci[1] << 8:x}")
    yield Entry("Board Part Number", "board_part_number", board.part_number or NA)
    yield Entry("GPU Part Number", "gpu_part_number", f"{board.device_id:04X}-{board.gpu_part}")
    yield Entry("FRU Part Number", "gpu_fru_part_number", NA)
    yield _module(gpu)
    image, oem, ecc = board.inforom or (NA, NA, NA)
    yield section(
        "Inforom Version",
        "inforom_version",
        Entry("Image Version", "img_version", image),
        Entry("OEM Object", "oem_object", oem),
        Entry("ECC Object", "ecc_object", ecc),
        Entry("Power Management Object", "pwr_object", NA),
    )
    flush = all_na(("Latest Timestamp", "latest_timestamp"), ("Latest Duration", "latest_duration"))
    yield section("Inforom BBX Object Flush", "inforom_bbx_flush", *flush)
    if gpu.branch >= 610:
        yield section("Inforom Time Data", "inforom_time_data", Entry("Time Run", "time_run", NA))
    modes = all_na(("Current", "current_gom"), ("Pending", "pending_gom"))
    yield section("GPU Operation Mode", "gpu_operation_mode", *modes)
    c2c = "Enabled" if board.is_superchip else "Disabled"
    yield Entry("GPU C2C Mode", "c2c_mode", c2c if has_sparsity_mode(gpu) else NA)
    yield section(
        "GPU Virtualization Mode",
        "gpu_virtualization_mode",
        Entry("Virtualization Mode", "virtualization_mode", "None"),
        Entry("Host VGPU Mode", "host_vgpu_mode", NA),
        Entry("vGPU Heterogeneous Mode", "vgpu_heterogeneous_mode", NA),
    )
    yield from _recovery(gpu)
    has_gsp = board.architecture != "Volta"
    yield Entry("GSP Firmware Version", "gsp_firmware_version", board.driver.version if has_gsp else NA)
    yield section("IBMNPU", "ibmnpu", Entry("Relaxed Ordering Mode", "relaxed_ordering_mode", NA))


def _module(gpu: Gpu) -> Entry:
    """The place of the GPU in its node: one number, and from driver 570 on a section."""
    number = str(gpu.index + 1)
    if gpu.branch < 570:
        return Entry("Module ID", "gpu_module_id", number)
    unknown = (
        ("Chassis Serial Number", "chassis_serial_number"), ("Slot Number", "slot_number"),
        ("Tray Index", "tray_index"), ("Host ID", "host_id"), ("Peer Type", "peer_type"),
    )  # fmt: skip
    module, guid = Entry("Module Id", "module_id", number), Entry("GPU Fabric GUID", "gpu_fabric_guid", NA)
    return section("Platform Info", "platformInfo", *all_na(*unknown), module, guid)


def _recovery(gpu: Gpu) -> Iterable[Entry]:
    """The driver's advice after an error: two flags, and from driver 570 on an action."""
    required = "Yes" if gpu.health.needs_reset else "No"
    drain = required if gpu.board.has_mig else NA
    if gpu.branch >= 570:
        required = drain = DEPRECATED
    if gpu.branch < 580:
        yield section(
            "GPU Reset Status",
            "gpu_reset_status",
            Entry("Reset Required", "reset_required", required),
            Entry("Drain and Reset Recommended", "drain_and_reset_recommended", drain),
        )
    if gpu.branch >= 570:
        yield Entry("GPU Recovery Action", "gpu_recovery_action", gpu.health.recovery_action)


def pci(gpu: Gpu) -> Entry:
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
            Entry("Max", "max_link_gen", generation),
            Entry("Current", "current_link_gen", generation),
            Entry("Device Current", "device_current_link_gen", generation),
            Entry("Device Max", "max_device_link_gen", generation),
            Entry("Host Max", "max_host_link_gen", generation),
        ),
        section(
            "Link Width",
            "link_widths",
            Entry("Max", "max_link_width", "16x"),
            Entry("Current", "current_link_width", "16x"),
        ),
    )
    return section(
        "PCI",
        "pci",
        Entry("Bus", "pci_bus", f"0x{bus:02X}", f"{bus:02X}"),
        Entry("Device", "pci_device", "0x00", "00"),
        Entry("Domain", "pci_domain", f"0x{domain:04X}", f"{domain:04X}"),
        Entry("Base Classcode", "pci_base_class", "0x3", "3"),
        Entry("Sub Classcode", "pci_sub_class", f"0x{subclass}", subclass),
        Entry("Device Id", "pci_device_id", f"0x{device}", device),
        Entry("Bus Id", "pci_bus_id", gpu.bus_id),
        Entry("Sub System Id", "pci_sub_system_id", f"0x{subsystem}", subsystem),
        link,
        section(
            "Bridge Chip", "pci_bridge_chip", *all_na(("Type", "bridge_chip_type"), ("Firmware", "bridge_chip_fw"))
        ),
        Entry("Replays Since Reset", "replay_counter", str(gpu.health.pcie_replays)),
        Entry("Replay Number Rollovers", "replay_rollover_counter", "0"),
        Entry("Tx Throughput", "tx_util", f"{gpu.pcie_kb_per_s} KB/s"),
        Entry("Rx Throughput", "rx_util", f"{gpu.pcie_kb_per_s} KB/s"),
        *(atomics if gpu.branch >= 570 else reversed(atomics)),
    )


def fabric(gpu: Gpu) -> Entry:
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
        Entry("State", "state", "Completed" if joined else NA),
        Entry("Status", "status", "Success" if joined else NA),
        Entry("CliqueId", "cliqueId", "0" if joined else NA),
        Entry("ClusterUUID", "clusterUuid", "00000000-0000-0000-0000-000000000000" if joined else NA),
        section("Health", "health", *known),
    )


def capabilities(gpu: Gpu) -> Iterable[Entry]:
    """The entries after the processes."""
    if gpu.branch >= 570:
        yield section("Capabilities", "capabilities", Entry("EGM", "egm", "disabled"))
