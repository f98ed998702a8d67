"""``-q``: the load of a GPU: clocks' limits, memory, utilization."""

from __future__ import annotations

from collections.abc import Iterable

from accelerate_sim.monitoring.nvidia_smi.reading import BRAKE, HW_THERMAL, IDLE, POWER_CAP, SLOWDOWN, THERMAL, Gpu
from accelerate_sim.monitoring.nvidia_smi.report_entry import NA, ReportEntry, section


def reasons(gpu: Gpu) -> Iterable[ReportEntry]:
    """Entries of the reasons why the clocks are not higher."""
    names = (
        ("Idle", "gpu_idle", IDLE),
        ("Applications Clocks Setting", "applications_clocks_setting", 0),
        ("SW Power Cap", "sw_power_cap", POWER_CAP),
        ("HW Slowdown", "hw_slowdown", SLOWDOWN),
        ("    HW Thermal Slowdown", "hw_thermal_slowdown", HW_THERMAL),
        ("    HW Power Brake Slowdown", "hw_power_brake_slowdown", BRAKE),
        ("Sync Boost", "sync_boost", 0),
        ("SW Thermal Slowdown", "sw_thermal_slowdown", THERMAL),
        ("Display Clock Setting", "display_clocks_setting", 0),
    )
    yield section(
        "Clocks Event Reasons",
        "clocks_event_reasons",
        *(
            ReportEntry(label, f"clocks_event_reason_{tag}", "Active" if gpu.reasons & bits else "Not Active")
            for label, tag, bits in names
        ),
    )
    if gpu.branch < 580:
        return
    slowed = gpu.slowed_time()
    counters = (
        ("SW Power Capping", "sw_power_cap", slowed.capped_us),
        ("Sync Boost", "sync_boost", 0),
        ("SW Thermal Slowdown", "sw_therm_slowdown", slowed.thermal_us),
        ("HW Thermal Slowdown", "hw_therm_slowdown", 0),
        ("HW Power Braking", "hw_power_brake", slowed.braked_us),
    )
    yield section(
        "Clocks Event Reasons Counters",
        "clocks_event_reasons_counters",
        *(ReportEntry(label, f"clocks_event_reasons_counters_{tag}", f"{spent} us") for label, tag, spent in counters),
    )


def memory(gpu: Gpu) -> Iterable[ReportEntry]:
    """Entries of the frame buffer, BAR1 and protected memory."""
    yield section(
        "FB Memory Usage",
        "fb_memory_usage",
        ReportEntry("Total", "total", f"{gpu.total_mib} MiB"),
        ReportEntry("Reserved", "reserved", f"{gpu.reserved_mib} MiB"),
        ReportEntry("Used", "used", f"{gpu.used_mib} MiB"),
        ReportEntry("Free", "free", f"{gpu.free_mib} MiB"),
    )
    bar_mib = 1 << (gpu.total_mib - 1).bit_length()
    yield _usage("BAR1 Memory Usage", "bar1_memory_usage", bar_mib, gpu.used_bar1_mib)
    yield _usage("Conf Compute Protected Memory Usage", "cc_protected_memory_usage", 0, 0)


def _usage(label: str, tag: str, total_mib: int, used_mib: int) -> ReportEntry:
    return section(
        label,
        tag,
        ReportEntry("Total", "total", f"{total_mib} MiB"),
        ReportEntry("Used", "used", f"{used_mib} MiB"),
        ReportEntry("Free", "free", f"{total_mib - used_mib} MiB"),
    )


def utilization(gpu: Gpu) -> ReportEntry:
    """Entries of the utilization of each engine."""
    newer = "0 %" if gpu.board.architecture != "Volta" else NA
    return section(
        "Utilization",
        "utilization",
        ReportEntry("GPU" if gpu.branch >= 570 else "Gpu", "gpu_util", f"{gpu.utilization_pct} %"),
        ReportEntry("Memory", "memory_util", f"{gpu.memory_utilization_pct} %"),
        ReportEntry("Encoder", "encoder_util", "0 %"),
        ReportEntry("Decoder", "decoder_util", "0 %"),
        ReportEntry("JPEG", "jpeg_util", newer),
        ReportEntry("OFA", "ofa_util", newer),
    )


def session_stats(label: str, tag: str) -> ReportEntry:
    """Entries of an encoder without sessions."""
    return section(
        label,
        tag,
        ReportEntry("Active Sessions", "session_count", "0"),
        ReportEntry("Average FPS", "average_fps", "0"),
        ReportEntry("Average Latency", "average_latency", "0"),
    )
