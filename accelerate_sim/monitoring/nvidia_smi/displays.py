"""The sections of ``-q`` that ``-d`` takes."""

DISPLAYS = {
    "MEMORY": ("fb_memory_usage", "bar1_memory_usage", "cc_protected_memory_usage"),
    "UTILIZATION": ("utilization",),
    "ECC": ("ecc_mode", "ecc_errors"),
    "TEMPERATURE": ("temperature",),
    "POWER": ("gpu_power_readings", "gpu_memory_power_readings", "module_power_readings"),
    "CLOCK": (
        "clocks", "applications_clocks", "default_applications_clocks", "deferred_clocks", "max_clocks",
        "max_customer_boost_clocks", "clock_policy",
    ),
    "COMPUTE": ("compute_mode",),
    "PIDS": ("processes",),
    "PERFORMANCE": (
        "performance_state", "clocks_event_reasons", "clocks_event_reasons_counters", "sparse_operation_mode",
    ),
    "SUPPORTED_CLOCKS": ("supported_clocks",),
    "PAGE_RETIREMENT": ("retired_pages",),
    "ACCOUNTING": ("accounting_mode", "accounting_mode_buffer_size"),
    "ENCODER_STATS": ("encoder_stats",),
    "VOLTAGE": ("voltage",),
    "FBC_STATS": ("fbc_stats",),
    "ROW_REMAPPER": ("remapped_rows",),
    "GSP_FIRMWARE_VERSION": ("gsp_firmware_version",),
    "POWER_SMOOTHING": ("power_smoothing",),
    "POWER_PROFILES": ("power_profiles",),
}  # fmt: skip
"""XML elements of a GPU by the name of their section."""
