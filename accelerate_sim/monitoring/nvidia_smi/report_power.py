"""``-q``: temperatures, power and clocks of a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from accelerate_sim.monitoring.nvidia_smi.reading import Gpu
from accelerate_sim.monitoring.nvidia_smi.readings import (
    averages_power,
    has_margin,
    has_memory_sensor,
    memory_power_w,
    min_power_w,
    video_clock_mhz,
)
from accelerate_sim.monitoring.nvidia_smi.report_entry import DEPRECATED, NA, ReportEntry, all_na, section


def temperature(gpu: Gpu) -> ReportEntry:
    """Entries of temperatures and their limits; from Hopper on limits are the kelvins that remain."""
    now, slowdown = gpu.temperature_c, gpu.slowdown_c
    margin = "GPU Current T.Limit Temp" if gpu.branch >= 610 else "GPU T.Limit Temp"
    target = "GPU Target Temperature" + " Specification" * (gpu.branch >= 610)
    memory = f"{gpu.memory_temperature_c} C" if has_memory_sensor(gpu) else NA
    if has_margin(gpu):
        limits = (
            ReportEntry(margin, "gpu_temp_tlimit", f"{slowdown - now} C"),
            ReportEntry("GPU Shutdown T.Limit Temp", "gpu_temp_max_tlimit_threshold", "-8 C"),
            ReportEntry("GPU Slowdown T.Limit Temp", "gpu_temp_slow_tlimit_threshold", "-2 C"),
            ReportEntry("GPU Max Operating T.Limit Temp", "gpu_temp_max_gpu_tlimit_threshold", "0 C"),
        )
        memory_limit = ReportEntry(
            "Memory Max Operating T.Limit Temp",
            "gpu_temp_max_mem_tlimit_threshold",
            "0 C" if has_memory_sensor(gpu) else NA,
        )
    else:
        limits = (
            ReportEntry(margin, "gpu_temp_tlimit", NA),
            ReportEntry("GPU Shutdown Temp", "gpu_temp_max_threshold", f"{slowdown + 3} C"),
            ReportEntry("GPU Slowdown Temp", "gpu_temp_slow_threshold", f"{slowdown} C"),
            ReportEntry("GPU Max Operating Temp", "gpu_temp_max_gpu_threshold", f"{slowdown - 4} C"),
        )
        memory_limit = ReportEntry(
            "Memory Max Operating Temp", "gpu_temp_max_mem_threshold", "95 C" if has_memory_sensor(gpu) else NA
        )
    return section(
        "Temperature",
        "temperature",
        ReportEntry("GPU Current Temp", "gpu_temp", f"{now} C"),
        *limits,
        ReportEntry(target, "gpu_target_temperature", NA),
        ReportEntry("Memory Current Temp", "memory_temp", memory),
        memory_limit,
    )


def power(gpu: Gpu) -> Iterable[ReportEntry]:
    """Entries of power draw and limits of the GPU, its memory and its module."""
    yield section("", "supported_gpu_target_temp", *all_na(("", "gpu_target_temp_min"), ("", "gpu_target_temp_max")))
    average = f"{gpu.power_w:.2f} W" if averages_power(gpu) else NA
    limits = (
        ("Current Power Limit", "current_power_limit", gpu.power_limit_w),
        ("Requested Power Limit", "requested_power_limit", gpu.power_limit_w),
        ("Default Power Limit", "default_power_limit", gpu.power_limit_w),
        ("Min Power Limit", "min_power_limit", min_power_w(gpu)),
        ("Max Power Limit", "max_power_limit", gpu.power_limit_w),
    )
    state = ReportEntry("", "power_state", DEPRECATED if gpu.branch >= 590 else "P0")
    watts = tuple(ReportEntry(label, tag, f"{value:.2f} W") for label, tag, value in limits)
    draws = _draws(gpu, average, f"{gpu.power_w:.2f} W")
    yield section("GPU Power Readings", "gpu_power_readings", state, *draws, *_grouped(gpu, watts))
    # nvidia-smi prints a blank after this label
    has_memory_power = gpu.board.architecture == "Hopper" and gpu.branch >= 570
    memory = _draws(gpu, f"{memory_power_w(gpu):.2f} W" if has_memory_power else NA, NA)
    yield section("GPU Memory Power Readings ", "gpu_memory_power_readings", *memory)
    module = all_na(*((label, tag) for label, tag, _ in limits))
    yield section("Module Power Readings", "module_power_readings", state, *_draws(gpu, NA, NA), *module)
    if gpu.branch >= 570:
        profiles = all_na(
            ("Requested Profiles", "power_profile_requested_profiles"),
            ("Enforced Profiles", "power_profile_enforced_profiles"),
        )
        yield ReportEntry("Power Smoothing", "power_smoothing", NA)
        yield section("Workload Power Profiles", "power_profiles", *profiles)
    if gpu.branch >= 590:
        yield ReportEntry("EDPp Multiplier", "edpp_multiplier", "100.00%" if gpu.board.architecture == "Hopper" else NA)


def _draws(gpu: Gpu, average: str, instant: str) -> tuple[ReportEntry, ...]:
    """Power draw: one value, and from driver 570 on two."""
    if gpu.branch < 570:
        return (ReportEntry("Power Draw", "power_draw", instant),)
    return (
        ReportEntry("Average Power Draw", "average_power_draw", average),
        ReportEntry("Instantaneous Power Draw", "instant_power_draw", instant),
    )


def _grouped(gpu: Gpu, limits: tuple[ReportEntry, ...]) -> Iterable[ReportEntry]:
    """The limits; in the text of driver 610 the first three are in a section, with the base power after them."""
    if gpu.branch < 610:
        yield from limits
        return
    yield from (replace(limit, label="") for limit in limits[:3])  # the XML has them in their old place
    yield section("GPU Ceiling Power Limit", "", *limits[:3])
    names = ("Current Base Power", "Requested Base Power", "Default Base Power")
    yield section("GPU Base Power", "", *all_na(*((name, "") for name in names)))
    yield from limits[3:]


def clocks(gpu: Gpu) -> Iterable[ReportEntry]:
    """Entries of the present clocks, the set ones, and the highest."""
    memory = ReportEntry("Memory", "mem_clock", f"{gpu.board.memory_clock_mhz} MHz")

    def all_clocks(label: str, tag: str, clock_mhz: int) -> ReportEntry:
        return section(
            label,
            tag,
            ReportEntry("Graphics", "graphics_clock", f"{clock_mhz} MHz"),
            ReportEntry("SM", "sm_clock", f"{clock_mhz} MHz"),
            memory,
            ReportEntry("Video", "video_clock", f"{video_clock_mhz(clock_mhz)} MHz"),
        )

    highest = ReportEntry("Graphics", "graphics_clock", f"{gpu.max_clock_mhz} MHz")
    set_clocks = (
        (highest, memory)
        if gpu.branch < 590
        else (replace(highest, value=DEPRECATED), replace(memory, value=DEPRECATED))
    )
    yield all_clocks("Clocks", "clocks", gpu.clock_mhz)
    yield section("Applications Clocks", "applications_clocks", *set_clocks)
    yield section("Default Applications Clocks", "default_applications_clocks", *set_clocks)
    yield section("Deferred Clocks", "deferred_clocks", ReportEntry("Memory", "mem_clock", NA))
    yield all_clocks("Max Clocks", "max_clocks", gpu.max_clock_mhz)
    yield section("Max Customer Boost Clocks", "max_customer_boost_clocks", highest)
    boost = all_na(("Auto Boost", "auto_boost"), ("Auto Boost Default", "auto_boost_default"))
    yield section("Clock Policy", "clock_policy", *boost)
    if gpu.branch < 580:
        yield section("Voltage", "voltage", ReportEntry("Graphics", "graphics_volt", NA))
