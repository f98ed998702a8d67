"""Fields of load, temperature, power and clocks."""

from __future__ import annotations

from collections.abc import Callable

from accelerate_sim.monitoring.nvidia_smi.fields.field import (
    Field,
    Fields,
    deprecated,
    fixed,
    if_,
    of_gpu,
    since,
    unavailable,
)
from accelerate_sim.monitoring.nvidia_smi.overview import fan_pct
from accelerate_sim.monitoring.nvidia_smi.reading import (
    BRAKE,
    HW_THERMAL,
    IDLE,
    POWER_CAP,
    SLOWDOWN,
    THERMAL,
    Gpu,
)
from accelerate_sim.monitoring.nvidia_smi.readings import (
    averages_power,
    has_margin,
    has_memory_sensor,
    min_power_w,
    video_clock_mhz,
)


def _reason(name: str, bits: int) -> tuple[str, Field]:
    field = of_gpu(lambda gpu: "Active" if gpu.reasons & bits else "Not Active", "", f"clocks_throttle_reasons.{name}")
    return f"clocks_event_reasons.{name}", field


def _watts(value: Callable[[Gpu], float], *aliases: str) -> Field:
    return of_gpu(lambda gpu: f"{value(gpu):.2f}", "W", *aliases)


def _newer_engine() -> Field:
    return if_(lambda gpu: gpu.board.architecture != "Volta", lambda gpu: 0, "%")


LOAD: Fields = {
    "fan.speed": if_(lambda gpu: not gpu.board.has_ecc, fan_pct, "%"),
    "pstate": fixed("P0"),
    "clocks_event_reasons.supported": fixed("0x00000000000001FF", "", "clocks_throttle_reasons.supported"),
    "clocks_event_reasons.active": of_gpu(lambda gpu: f"0x{gpu.reasons:016X}", "", "clocks_throttle_reasons.active"),
    **dict(
        _reason(name, bits)
        for name, bits in (
            ("gpu_idle", IDLE), ("applications_clocks_setting", 0), ("sw_power_cap", POWER_CAP),
            ("hw_slowdown", SLOWDOWN), ("hw_thermal_slowdown", HW_THERMAL), ("hw_power_brake_slowdown", BRAKE),
            ("sw_thermal_slowdown", THERMAL), ("sync_boost", 0),
        )
    ),
    **since(
        580,
        {
            "clocks_event_reasons_counters.sw_power_cap": of_gpu(lambda gpu: gpu.slowed_time().capped_us, "us"),
            "clocks_event_reasons_counters.sync_boost": fixed(0, "us"),
            "clocks_event_reasons_counters.sw_thermal_slowdown": of_gpu(
                lambda gpu: gpu.slowed_time().thermal_us, "us"
            ),
            "clocks_event_reasons_counters.hw_thermal_slowdown": fixed(0, "us"),
            "clocks_event_reasons_counters.hw_power_brake_slowdown": of_gpu(
                lambda gpu: gpu.slowed_time().braked_us, "us"
            ),
        },
    ),
    "memory.total": of_gpu(lambda gpu: gpu.total_mib, "MiB"),
    "memory.reserved": of_gpu(lambda gpu: gpu.reserved_mib, "MiB"),
    "memory.used": of_gpu(lambda gpu: gpu.used_mib, "MiB"),
    "memory.free": of_gpu(lambda gpu: gpu.free_mib, "MiB"),
    "compute_mode": fixed("Default"),
    "compute_cap": of_gpu(lambda gpu: gpu.board.compute_capability),
    "utilization.gpu": of_gpu(lambda gpu: gpu.utilization_pct, "%"),
    "utilization.memory": of_gpu(lambda gpu: gpu.memory_utilization_pct, "%"),
    "utilization.encoder": fixed(0, "%"),
    "utilization.decoder": fixed(0, "%"),
    "utilization.jpeg": _newer_engine(),
    "utilization.ofa": _newer_engine(),
    "encoder.stats.sessionCount": fixed(0),
    "encoder.stats.averageFps": fixed(0),
    "encoder.stats.averageLatency": fixed(0),
}  # fmt: skip

_SMOOTHING = {
    "tmp_floor": "W", "tmp_ceil": "W", "hw_lifetime_remaining_percent": "%", "enabled": "",
    "delayed_power_smoothing_supported": "", "soc_power_smoothing_enabled": "", "priv_level": "", "imm_ramp_down": "",
    "max_percent_tmp_floor": "%", "min_percent_tmp_floor": "%", "primary_power_floor": "W",
    "secondary_power_floor": "W", "min_primary_floor_activation_offset": "W",
    "min_primary_floor_activation_point": "W", "window_multiplier": "ms", "num_preset_profiles": "",
    "curr_profile.percent_tmp_floor": "%", "curr_profile.ramp_up_rate": "W/s", "curr_profile.ramp_down_rate": "W/s",
    "curr_profile.ramp_down_hysteresis": "ms", "curr_profile.secondary_power_floor": "W",
    "curr_profile.primary_floor_act_window_multiplier": "", "curr_profile.primary_floor_tar_window_multiplier": "",
    "curr_profile.primary_floor_act_offset": "W", "active_profile": "", "admin_override.percent_tmp_floor": "%",
    "admin_override.ramp_up_rate": "W/s", "admin_override.ramp_down_rate": "W/s",
    "admin_override.ramp_down_hysteresis": "ms", "admin_override.secondary_power_floor": "W",
    "admin_override.primary_floor_act_window_multiplier": "",
    "admin_override.primary_floor_tar_window_multiplier": "", "admin_override.primary_floor_act_offset": "W",
}  # fmt: skip
"""Units of the fields of power smoothing, which no GPU of the catalog does."""


def _is_delayed(name: str) -> bool:
    """True for the fields of delayed power smoothing, which driver 590 brought; the others came with 610."""
    return name == "window_multiplier" or any(part in name for part in ("delayed", "primary", "secondary"))


def _smoothing() -> dict[str, Field]:
    named = {f"power_smoothing.{name}": (name, unit) for name, unit in _SMOOTHING.items()}
    return {
        full: Field(unavailable().value, unit, since=590 if _is_delayed(name) else 610)
        for full, (name, unit) in named.items()
    }


POWER: Fields = {
    "temperature.gpu": of_gpu(lambda gpu: gpu.temperature_c),
    "temperature.gpu.tlimit": if_(has_margin, lambda gpu: gpu.slowdown_c - gpu.temperature_c),
    "temperature.memory": of_gpu(lambda gpu: gpu.memory_temperature_c if has_memory_sensor(gpu) else "N/A"),
    **deprecated(590, {"power.management": fixed("Enabled")}),
    "power.draw": _watts(lambda gpu: gpu.power_w),
    "power.draw.average": if_(averages_power, lambda gpu: f"{gpu.power_w:.2f}", "W", "gpu.power.draw.average"),
    "power.draw.instant": _watts(lambda gpu: gpu.power_w, "gpu.power.draw.instant"),
    "power.limit": _watts(lambda gpu: gpu.power_limit_w, "gpu.power.requested_limit"),
    "enforced.power.limit": _watts(lambda gpu: gpu.power_limit_w, "gpu.power.current_limit"),
    "power.default_limit": _watts(lambda gpu: gpu.power_limit_w, "gpu.power.default_limit"),
    "power.min_limit": _watts(min_power_w, "gpu.power.min_limit"),
    "power.max_limit": _watts(lambda gpu: gpu.power_limit_w, "gpu.power.max_limit"),
    **since(
        570,
        {
            "module.power.draw.average": unavailable("W"),
            "module.power.draw.instant": unavailable("W"),
            "module.power.limit": unavailable("W", "module.power.requested_limit"),
            "module.enforced.power.limit": unavailable("W", "module.power.current_limit"),
            "module.power.default_limit": unavailable("W"),
            "module.power.min_limit": unavailable("W"),
            "module.power.max_limit": unavailable("W"),
        },
    ),
    **since(610, {f"gpu.base.{name}": unavailable("W") for name in ("current", "requested", "default", "min", "max")}),
    **_smoothing(),
    **since(590, {"edpp_multiplier": if_(lambda gpu: gpu.board.architecture == "Hopper", lambda gpu: "100.00", "%")}),
}


def _memory_clock(gpu: Gpu) -> int:
    return gpu.board.memory_clock_mhz


def _highest_clock(gpu: Gpu) -> int:
    return gpu.max_clock_mhz


def _set_clocks(group: str) -> Fields:
    return {
        f"clocks.{group}.graphics": of_gpu(_highest_clock, "MHz", f"clocks.{group}.gr"),
        f"clocks.{group}.memory": of_gpu(_memory_clock, "MHz", f"clocks.{group}.mem"),
    }


CLOCKS: Fields = {
    "clocks.current.graphics": of_gpu(lambda gpu: gpu.clock_mhz, "MHz", "clocks.gr"),
    "clocks.current.sm": of_gpu(lambda gpu: gpu.clock_mhz, "MHz", "clocks.sm"),
    "clocks.current.memory": of_gpu(_memory_clock, "MHz", "clocks.mem"),
    "clocks.current.video": of_gpu(lambda gpu: video_clock_mhz(gpu.clock_mhz), "MHz", "clocks.video"),
    **deprecated(590, {**_set_clocks("applications"), **_set_clocks("default_applications")}),
    "clocks.max.graphics": of_gpu(_highest_clock, "MHz", "clocks.max.gr"),
    "clocks.max.sm": of_gpu(_highest_clock, "MHz"),
    "clocks.max.memory": of_gpu(_memory_clock, "MHz", "clocks.max.mem"),
}
