"""``-q``: the state of a GPU: memory, load, errors, temperature, power, clocks."""

from __future__ import annotations

from collections.abc import Iterable

from accelerate_sim.monitoring.nvidia_smi.properties import min_power_w, video_clock_mhz
from accelerate_sim.monitoring.nvidia_smi.reading import BRAKE, IDLE, POWER_CAP, SLOWDOWN, THERMAL, Gpu
from accelerate_sim.monitoring.nvidia_smi.report_entry import NA, Entry, all_na, section


def reasons(gpu: Gpu) -> Entry:
    """Entries of the reasons why the clocks are not higher."""
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
    return section(
        "Clocks Event Reasons",
        "clocks_event_reasons",
        *(
            Entry(label, f"clocks_event_reason_{tag}", "Active" if gpu.reasons & bits else "Not Active")
            for label, tag, bits in names
        ),
    )


def memory(gpu: Gpu) -> Iterable[Entry]:
    """Entries of the frame buffer, BAR1 and protected memory."""
    yield section(
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
    return section(
        label,
        tag,
        Entry("Total", "total", f"{total_mib} MiB"),
        Entry("Used", "used", f"{used_mib} MiB"),
        Entry("Free", "free", f"{total_mib - used_mib} MiB"),
    )


def utilization(gpu: Gpu) -> Entry:
    """Entries of the utilization of each engine."""
    newer = "0 %" if gpu.board.architecture != "Volta" else NA
    return section(
        "Utilization",
        "utilization",
        Entry("Gpu", "gpu_util", f"{gpu.utilization_pct} %"),
        Entry("Memory", "memory_util", f"{gpu.memory_utilization_pct} %"),
        Entry("Encoder", "encoder_util", "0 %"),
        Entry("Decoder", "decoder_util", "0 %"),
        Entry("JPEG", "jpeg_util", newer),
        Entry("OFA", "ofa_util", newer),
    )


def session_stats(label: str, tag: str) -> Entry:
    """Entries of an encoder without sessions."""
    return section(
        label,
        tag,
        Entry("Active Sessions", "session_count", "0"),
        Entry("Average FPS", "average_fps", "0"),
        Entry("Average Latency", "average_latency", "0"),
    )


def ecc(gpu: Gpu) -> Iterable[Entry]:
    """Entries of ECC errors, and of retired or remapped memory."""
    mode, count = ("Enabled", "0") if gpu.board.has_ecc else (NA, NA)
    yield section("ECC Mode", "ecc_mode", Entry("Current", "current_ecc", mode), Entry("Pending", "pending_ecc", mode))
    counters = (
        Entry("SRAM Correctable", "sram_correctable", count),
        Entry("SRAM Uncorrectable Parity", "sram_uncorrectable_parity", count),
        Entry("SRAM Uncorrectable SEC-DED", "sram_uncorrectable_secded", count),
        Entry("DRAM Correctable", "dram_correctable", count),
        Entry("DRAM Uncorrectable", "dram_uncorrectable", count),
    )
    threshold = Entry("SRAM Threshold Exceeded", "sram_threshold_exceeded", "No" if gpu.board.has_ecc else NA)
    sources = (("L2", "l2"), ("SM", "sm"), ("Microcontroller", "microcontroller"), ("PCIE", "pcie"), ("Other", "other"))
    yield section(
        "ECC Errors",
        "ecc_errors",
        section("Volatile", "volatile", *counters),
        section("Aggregate", "aggregate", *counters, threshold),
        section(
            "Aggregate Uncorrectable SRAM Sources",
            "aggregate_uncorrectable_sram_sources",
            *(Entry(f"SRAM {label}", f"sram_{tag}", count) for label, tag in sources),
        ),
    )
    yield _retired_pages()
    yield _remapped_rows(gpu)


def _retired_pages() -> Entry:
    # The text has only the count where the XML has a section.
    counts = all_na(("", "retired_count"), ("", "retired_pagelist"))
    return section(
        "Retired Pages",
        "retired_pages",
        Entry("Single Bit ECC", "", NA),
        section("", "multiple_single_bit_retirement", *counts),
        Entry("Double Bit ECC", "", NA),
        section("", "double_bit_retirement", *counts),
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
    return section(
        "Remapped Rows",
        "remapped_rows",
        Entry("Correctable Error", "remapped_row_corr", "0"),
        Entry("Uncorrectable Error", "remapped_row_unc", "0"),
        Entry("Pending", "remapped_row_pending", "No"),
        Entry("Remapping Failure Occurred", "remapped_row_failure", "No"),
        section(
            "Bank Remap Availability Histogram",
            "row_remapper_histogram",
            *(Entry(label, f"row_remapper_histogram_{tag}", f"{count} bank(s)") for label, tag, count in banks),
        ),
    )


def temperature(gpu: Gpu) -> Entry:
    """Entries of temperatures and their limits; from Hopper on limits are the kelvins that remain."""
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
    return section(
        "Temperature",
        "temperature",
        Entry("GPU Current Temp", "gpu_temp", f"{now} C"),
        *limits,
        Entry("GPU Target Temperature", "gpu_target_temperature", NA),
        Entry("Memory Current Temp", "memory_temp", memory),
        memory_limit,
    )


def power(gpu: Gpu) -> Iterable[Entry]:
    """Entries of power draw and limits of the GPU, its memory and its module."""
    yield section("", "supported_gpu_target_temp", *all_na(("", "gpu_target_temp_min"), ("", "gpu_target_temp_max")))
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
    yield section("GPU Power Readings", "gpu_power_readings", state, *watts)
    # nvidia-smi prints a blank after this label
    yield section("GPU Memory Power Readings ", "gpu_memory_power_readings", Entry("Power Draw", "power_draw", NA))
    module = all_na(*((label, tag) for label, tag, _ in names))
    yield section("Module Power Readings", "module_power_readings", state, *module)


def clocks(gpu: Gpu) -> Iterable[Entry]:
    """Entries of the present clocks, the set ones, and the highest."""
    memory = Entry("Memory", "mem_clock", f"{gpu.board.memory_clock_mhz} MHz")

    def all_clocks(label: str, tag: str, clock_mhz: int) -> Entry:
        return section(
            label,
            tag,
            Entry("Graphics", "graphics_clock", f"{clock_mhz} MHz"),
            Entry("SM", "sm_clock", f"{clock_mhz} MHz"),
            memory,
            Entry("Video", "video_clock", f"{video_clock_mhz(clock_mhz)} MHz"),
        )

    highest = Entry("Graphics", "graphics_clock", f"{gpu.max_clock_mhz} MHz")
    yield all_clocks("Clocks", "clocks", gpu.clock_mhz)
    yield section("Applications Clocks", "applications_clocks", highest, memory)
    yield section("Default Applications Clocks", "default_applications_clocks", highest, memory)
    yield section("Deferred Clocks", "deferred_clocks", Entry("Memory", "mem_clock", NA))
    yield all_clocks("Max Clocks", "max_clocks", gpu.max_clock_mhz)
    yield section("Max Customer Boost Clocks", "max_customer_boost_clocks", highest)
    boost = all_na(("Auto Boost", "auto_boost"), ("Auto Boost Default", "auto_boost_default"))
    yield section("Clock Policy", "clock_policy", *boost)
    yield section("Voltage", "voltage", Entry("Graphics", "graphics_volt", NA))
