"""``-q``: everything about every GPU as one tree, from which the text and the XML are made.

Order and names are those of driver 550 (``nvsmi_device_v12.dtd``); later drivers put a few entries more in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from accelerate_sim.nvidia_smi.query import min_power_w, video_clock_mhz
from accelerate_sim.nvidia_smi.reading import BRAKE, IDLE, POWER_CAP, SLOWDOWN, THERMAL, Gpu, Reading
from accelerate_sim.nvidia_smi.table import TIME, fan_pct

NA = "N/A"


@dataclass(frozen=True, slots=True)
class Entry:
    """A value or a section. Without a label it is in the XML only, without a tag in the text only."""

    label: str
    tag: str
    value: str | tuple[Entry, ...]
    xml: str | None = None
    """The value in XML where it differs."""


def _section(label: str, tag: str, *entries: Entry) -> Entry:
    return Entry(label, tag, entries)


def _all_na(*names: tuple[str, str]) -> tuple[Entry, ...]:
    return tuple(Entry(label, tag, NA) for label, tag in names)


def heading(reading: Reading) -> tuple[Entry, ...]:
    """What is said once."""
    driver = reading.board.driver
    return (
        Entry("Timestamp", "timestamp", reading.time.strftime(TIME)),
        Entry("Driver Version", "driver_version", driver.version),
        Entry("CUDA Version", "cuda_version", driver.cuda),
    )


def gpu_tree(gpu: Gpu) -> tuple[Entry, ...]:
    """All that is said of one GPU, from its name to its clocks; its processes are listed after it."""
    return (
        *_identity(gpu),
        _pci(gpu),
        Entry("Fan Speed", "fan_speed", NA if gpu.board.has_ecc else f"{fan_pct(gpu)} %"),
        Entry("Performance State", "performance_state", "P0"),
        _reasons(gpu),
        Entry("Sparse Operation Mode", "sparse_operation_mode", NA),
        *_memory(gpu),
        Entry("Compute Mode", "compute_mode", "Default"),
        _utilization(gpu),
        _stats("Encoder Stats", "encoder_stats"),
        _stats("FBC Stats", "fbc_stats"),
        *_ecc(gpu),
        _temperature(gpu),
        *_power(gpu),
        *_clocks(gpu),
        _fabric(gpu),
    )


def _identity(gpu: Gpu) -> Iterable[Entry]:
    board = gpu.board
    mig = "Disabled" if board.has_mig else NA
    yield Entry("Product Name", "product_name", gpu.name)
    yield Entry("Product Brand", "product_brand", board.brand)
    yield Entry("Product Architecture", "product_architecture", board.architecture)
    yield Entry("Display Mode", "display_mode", "Disabled")
    yield Entry("Display Active", "display_active", "Disabled")
    yield Entry("Persistence Mode", "persistence_mode", "Enabled")
    yield Entry("Addressing Mode", "addressing_mode", "ATS" if board.is_superchip else "None")
    yield _section("MIG Mode", "mig_mode", Entry("Current", "current_mig", mig), Entry("Pending", "pending_mig", mig))
    yield Entry("", "mig_devices", "None")
    yield Entry("Accounting Mode", "accounting_mode", "Disabled")
    yield Entry("Accounting Mode Buffer Size", "accounting_mode_buffer_size", "4000")
    yield _section("Driver Model", "driver_model", *_all_na(("Current", "current_dm"), ("Pending", "pending_dm")))
    yield Entry("Serial Number", "serial", gpu.serial if board.has_ecc else NA)
    yield Entry("GPU UUID", "uuid", gpu.uuid)
    yield Entry("Minor Number", "minor_number", str(gpu.index))
    yield Entry("VBIOS Version", "vbios_version", board.vbios)
    yield Entry("MultiGPU Board", "multigpu_board", "No")
    yield Entry("Board ID", "board_id", f"0x{gpu.pci[0] << 16 | gpu.pci[1] << 8:x}")
    yield Entry("Board Part Number", "board_part_number", NA)
    yield Entry("GPU Part Number", "gpu_part_number", f"{board.device_id:04X}-885-A1")
    yield Entry("FRU Part Number", "gpu_fru_part_number", NA)
    yield Entry("Module ID", "gpu_module_id", str(gpu.index + 1))
    inforom = (("Image Version", "img_version"), ("OEM Object", "oem_object"), ("ECC Object", "ecc_object"))
    power_object = ("Power Management Object", "pwr_object")
    yield _section("Inforom Version", "inforom_version", *_all_na(*inforom, power_object))
    flush = _all_na(("Latest Timestamp", "latest_timestamp"), ("Latest Duration", "latest_duration"))
    yield _section("Inforom BBX Object Flush", "inforom_bbx_flush", *flush)
    modes = _all_na(("Current", "current_gom"), ("Pending", "pending_gom"))
    yield _section("GPU Operation Mode", "gpu_operation_mode", *modes)
    yield Entry("GPU C2C Mode", "c2c_mode", "Enabled" if board.is_superchip else "Disabled")
    yield _section(
        "GPU Virtualization Mode",
        "gpu_virtualization_mode",
        Entry("Virtualization Mode", "virtualization_mode", "None"),
        Entry("Host VGPU Mode", "host_vgpu_mode", NA),
        Entry("vGPU Heterogeneous Mode", "vgpu_heterogeneous_mode", NA),
    )
    yield _section(
        "GPU Reset Status",
        "gpu_reset_status",
        Entry("Reset Required", "reset_required", "No"),
        Entry("Drain and Reset Recommended", "drain_and_reset_recommended", "No" if board.has_mig else NA),
    )
    has_gsp = board.architecture != "Volta"
    yield Entry("GSP Firmware Version", "gsp_firmware_version", board.driver.version if has_gsp else NA)
    yield _section("IBMNPU", "ibmnpu", Entry("Relaxed Ordering Mode", "relaxed_ordering_mode", NA))


def _pci(gpu: Gpu) -> Entry:
    domain, bus = gpu.pci
    generation, device = str(gpu.board.pcie_generation), f"{gpu.board.device_id:04X}10DE"
    link = _section(
        "GPU Link Info",
        "pci_gpu_link_info",
        _section(
            "PCIe Generation",
            "pcie_gen",
            Entry("Max", "max_link_gen", generation),
            Entry("Current", "current_link_gen", generation),
            Entry("Device Current", "device_current_link_gen", generation),
            Entry("Device Max", "max_device_link_gen", generation),
            Entry("Host Max", "max_host_link_gen", generation),
        ),
        _section(
            "Link Width",
            "link_widths",
            Entry("Max", "max_link_width", "16x"),
            Entry("Current", "current_link_width", "16x"),
        ),
    )
    return _section(
        "PCI",
        "pci",
        Entry("Bus", "pci_bus", f"0x{bus:02X}", f"{bus:02X}"),
        Entry("Device", "pci_device", "0x00", "00"),
        Entry("Domain", "pci_domain", f"0x{domain:04X}", f"{domain:04X}"),
        Entry("Base Classcode", "pci_base_class", "0x3", "3"),
        Entry("Sub Classcode", "pci_sub_class", "0x2", "2"),
        Entry("Device Id", "pci_device_id", f"0x{device}", device),
        Entry("Bus Id", "pci_bus_id", gpu.bus_id),
        Entry("Sub System Id", "pci_sub_system_id", "0x16C110DE", "16C110DE"),
        link,
        _section(
            "Bridge Chip", "pci_bridge_chip", *_all_na(("Type", "bridge_chip_type"), ("Firmware", "bridge_chip_fw"))
        ),
        Entry("Replays Since Reset", "replay_counter", "0"),
        Entry("Replay Number Rollovers", "replay_rollover_counter", "0"),
        Entry("Tx Throughput", "tx_util", f"{500 + 40 * gpu.utilization_pct} KB/s"),
        Entry("Rx Throughput", "rx_util", f"{500 + 60 * gpu.utilization_pct} KB/s"),
        *_all_na(("Atomic Caps Inbound", "atomic_caps_inbound"), ("Atomic Caps Outbound", "atomic_caps_outbound")),
    )


def _reasons(gpu: Gpu) -> Entry:
    names = (
        ("Idle", "gpu_idle", IDLE),
        ("Applications Clocks Setting", "applications_clocks_setting", 0),
        ("SW Power Cap", "sw_power_cap", POWER_CAP),
        ("HW Slowdown", "hw_slowdown", SLOWDOWN),
        ("    HW Thermal Slowdown", "hw_thermal_slowdown", 0),
        ("    HW Power Brake Slowdown", "hw_power_brake_slowdown", BRAKE),
        ("Sync Boost", "sync_boost", 0),
        ("SW Thermal Slowdown", "sw_thermal_slowdown", THERMAL),
        ("Display Clock Setting", "display_clocks_setting", 0),
    )
    return _section(
        "Clocks Event Reasons",
        "clocks_event_reasons",
        *(
            Entry(label, f"clocks_event_reason_{tag}", "Active" if gpu.reasons & bits else "Not Active")
            for label, tag, bits in names
        ),
    )


def _memory(gpu: Gpu) -> Iterable[Entry]:
    yield _section(
        "FB Memory Usage",
        "fb_memory_usage",
        Entry("Total", "total", f"{gpu.total_mib} MiB"),
        Entry("Reserved", "reserved", f"{gpu.reserved_mib} MiB"),
        Entry("Used", "used", f"{gpu.used_mib} MiB"),
        Entry("Free", "free", f"{gpu.free_mib} MiB"),
    )
    bar_mib = 1 << (gpu.total_mib - 1).bit_length()
    yield _usage("BAR1 Memory Usage", "bar1_memory_usage", bar_mib, 4)
    yield _usage("Conf Compute Protected Memory Usage", "cc_protected_memory_usage", 0, 0)


def _usage(label: str, tag: str, total_mib: int, used_mib: int) -> Entry:
    return _section(
        label,
        tag,
        Entry("Total", "total", f"{total_mib} MiB"),
        Entry("Used", "used", f"{used_mib} MiB"),
        Entry("Free", "free", f"{total_mib - used_mib} MiB"),
    )


def _utilization(gpu: Gpu) -> Entry:
    newer = "0 %" if gpu.board.architecture != "Volta" else NA
    return _section(
        "Utilization",
        "utilization",
        Entry("Gpu", "gpu_util", f"{gpu.utilization_pct} %"),
        Entry("Memory", "memory_util", f"{gpu.memory_utilization_pct} %"),
        Entry("Encoder", "encoder_util", "0 %"),
        Entry("Decoder", "decoder_util", "0 %"),
        Entry("JPEG", "jpeg_util", newer),
        Entry("OFA", "ofa_util", newer),
    )


def _stats(label: str, tag: str) -> Entry:
    return _section(
        label,
        tag,
        Entry("Active Sessions", "session_count", "0"),
        Entry("Average FPS", "average_fps", "0"),
        Entry("Average Latency", "average_latency", "0"),
    )


def _ecc(gpu: Gpu) -> Iterable[Entry]:
    mode, count = ("Enabled", "0") if gpu.board.has_ecc else (NA, NA)
    yield _section("ECC Mode", "ecc_mode", Entry("Current", "current_ecc", mode), Entry("Pending", "pending_ecc", mode))
    counters = (
        Entry("SRAM Correctable", "sram_correctable", count),
        Entry("SRAM Uncorrectable Parity", "sram_uncorrectable_parity", count),
        Entry("SRAM Uncorrectable SEC-DED", "sram_uncorrectable_secded", count),
        Entry("DRAM Correctable", "dram_correctable", count),
        Entry("DRAM Uncorrectable", "dram_uncorrectable", count),
    )
    threshold = Entry("SRAM Threshold Exceeded", "sram_threshold_exceeded", "No" if gpu.board.has_ecc else NA)
    sources = (("L2", "l2"), ("SM", "sm"), ("Microcontroller", "microcontroller"), ("PCIE", "pcie"), ("Other", "other"))
    yield _section(
        "ECC Errors",
        "ecc_errors",
        _section("Volatile", "volatile", *counters),
        _section("Aggregate", "aggregate", *counters, threshold),
        _section(
            "Aggregate Uncorrectable SRAM Sources",
            "aggregate_uncorrectable_sram_sources",
            *(Entry(f"SRAM {label}", f"sram_{tag}", count) for label, tag in sources),
        ),
    )
    yield _retired_pages()
    yield _remapped_rows(gpu)


def _retired_pages() -> Entry:
    # The text has the count alone where the XML has a section.
    counts = _all_na(("", "retired_count"), ("", "retired_pagelist"))
    return _section(
        "Retired Pages",
        "retired_pages",
        Entry("Single Bit ECC", "", NA),
        _section("", "multiple_single_bit_retirement", *counts),
        Entry("Double Bit ECC", "", NA),
        _section("", "double_bit_retirement", *counts),
        Entry("Pending Page Blacklist", "pending_blacklist", NA),
        Entry("", "pending_retirement", NA),
    )


def _remapped_rows(gpu: Gpu) -> Entry:
    if not gpu.board.has_mig:
        return Entry("Remapped Rows", "remapped_rows", NA)
    banks = (
        ("Max", "max", 3072),
        ("High", "high", 0),
        ("Partial", "partial", 0),
        ("Low", "low", 0),
        ("None", "none", 0),
    )
    return _section(
        "Remapped Rows",
        "remapped_rows",
        Entry("Correctable Error", "remapped_row_corr", "0"),
        Entry("Uncorrectable Error", "remapped_row_unc", "0"),
        Entry("Pending", "remapped_row_pending", "No"),
        Entry("Remapping Failure Occurred", "remapped_row_failure", "No"),
        _section(
            "Bank Remap Availability Histogram",
            "row_remapper_histogram",
            *(Entry(label, f"row_remapper_histogram_{tag}", f"{count} bank(s)") for label, tag, count in banks),
        ),
    )


def _temperature(gpu: Gpu) -> Entry:
    now, slowdown = gpu.temperature_c, gpu.slowdown_c
    memory = f"{gpu.memory_temperature_c} C" if gpu.board.has_ecc else NA
    if gpu.board.has_temperature_margin:
        limits = (
            Entry("GPU T.Limit Temp", "gpu_temp_tlimit", f"{slowdown - now} C"),
            Entry("GPU Shutdown T.Limit Temp", "gpu_temp_max_tlimit_threshold", "-8 C"),
            Entry("GPU Slowdown T.Limit Temp", "gpu_temp_slow_tlimit_threshold", "-2 C"),
            Entry("GPU Max Operating T.Limit Temp", "gpu_temp_max_gpu_tlimit_threshold", "0 C"),
        )
        memory_limit = Entry("Memory Max Operating T.Limit Temp", "gpu_temp_max_mem_tlimit_threshold", "0 C")
    else:
        limits = (
            Entry("GPU T.Limit Temp", "gpu_temp_tlimit", NA),
            Entry("GPU Shutdown Temp", "gpu_temp_max_threshold", f"{slowdown + 3} C"),
            Entry("GPU Slowdown Temp", "gpu_temp_slow_threshold", f"{slowdown} C"),
            Entry("GPU Max Operating Temp", "gpu_temp_max_gpu_threshold", f"{slowdown - 4} C"),
        )
        memory_limit = Entry(
            "Memory Max Operating Temp", "gpu_temp_max_mem_threshold", "95 C" if gpu.board.has_ecc else NA
        )
    return _section(
        "Temperature",
        "temperature",
        Entry("GPU Current Temp", "gpu_temp", f"{now} C"),
        *limits,
        Entry("GPU Target Temperature", "gpu_target_temperature", NA),
        Entry("Memory Current Temp", "memory_temp", memory),
        memory_limit,
    )


def _power(gpu: Gpu) -> Iterable[Entry]:
    yield _section("", "supported_gpu_target_temp", *_all_na(("", "gpu_target_temp_min"), ("", "gpu_target_temp_max")))
    names = (
        ("Power Draw", "power_draw", gpu.power_w),
        ("Current Power Limit", "current_power_limit", gpu.power_limit_w),
        ("Requested Power Limit", "requested_power_limit", gpu.power_limit_w),
        ("Default Power Limit", "default_power_limit", gpu.power_limit_w),
        ("Min Power Limit", "min_power_limit", min_power_w(gpu)),
        ("Max Power Limit", "max_power_limit", gpu.power_limit_w),
    )
    state = Entry("", "power_state", "P0")
    watts = (Entry(label, tag, f"{value:.2f} W") for label, tag, value in names)
    yield _section("GPU Power Readings", "gpu_power_readings", state, *watts)
    # The blank after the label is the tool's.
    yield _section("GPU Memory Power Readings ", "gpu_memory_power_readings", Entry("Power Draw", "power_draw", NA))
    module = _all_na(*((label, tag) for label, tag, _ in names))
    yield _section("Module Power Readings", "module_power_readings", state, *module)


def _clocks(gpu: Gpu) -> Iterable[Entry]:
    memory = Entry("Memory", "mem_clock", f"{gpu.board.memory_clock_mhz} MHz")

    def all_clocks(label: str, tag: str, clock_mhz: int) -> Entry:
        return _section(
            label,
            tag,
            Entry("Graphics", "graphics_clock", f"{clock_mhz} MHz"),
            Entry("SM", "sm_clock", f"{clock_mhz} MHz"),
            memory,
            Entry("Video", "video_clock", f"{video_clock_mhz(clock_mhz)} MHz"),
        )

    highest = Entry("Graphics", "graphics_clock", f"{gpu.max_clock_mhz} MHz")
    yield all_clocks("Clocks", "clocks", gpu.clock_mhz)
    yield _section("Applications Clocks", "applications_clocks", highest, memory)
    yield _section("Default Applications Clocks", "default_applications_clocks", highest, memory)
    yield _section("Deferred Clocks", "deferred_clocks", Entry("Memory", "mem_clock", NA))
    yield all_clocks("Max Clocks", "max_clocks", gpu.max_clock_mhz)
    yield _section("Max Customer Boost Clocks", "max_customer_boost_clocks", highest)
    boost = _all_na(("Auto Boost", "auto_boost"), ("Auto Boost Default", "auto_boost_default"))
    yield _section("Clock Policy", "clock_policy", *boost)
    yield _section("Voltage", "voltage", Entry("Graphics", "graphics_volt", NA))


def _fabric(gpu: Gpu) -> Entry:
    joined = gpu.board.architecture in ("Hopper", "Blackwell")
    return _section(
        "Fabric",
        "fabric",
        Entry("State", "state", "Completed" if joined else NA),
        Entry("Status", "status", "Success" if joined else NA),
        Entry("CliqueId", "cliqueId", "0" if joined else NA),
        Entry("ClusterUUID", "clusterUuid", "00000000-0000-0000-0000-000000000000" if joined else NA),
        _section("Health", "health", Entry("Bandwidth", "bandwidth", NA)),
    )
