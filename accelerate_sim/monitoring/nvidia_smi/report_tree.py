"""``-q``: all properties of all GPUs as one tree, from which the text and the XML are made.

Order and names are those of driver 550 (``nvsmi_device_v12.dtd``); later drivers insert a few entries.
"""

from __future__ import annotations

from accelerate_sim.monitoring.nvidia_smi.overview import TIME, fan_pct
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading
from accelerate_sim.monitoring.nvidia_smi.report_board import fabric, identity, pci
from accelerate_sim.monitoring.nvidia_smi.report_entry import NA, Entry
from accelerate_sim.monitoring.nvidia_smi.report_state import (
    clocks,
    ecc,
    memory,
    power,
    reasons,
    session_stats,
    temperature,
    utilization,
)


def heading(reading: Reading) -> tuple[Entry, ...]:
    """The entries before the GPUs."""
    driver = reading.board.driver
    return (
        Entry("Timestamp", "timestamp", reading.time.strftime(TIME)),
        Entry("Driver Version", "driver_version", driver.version),
        Entry("CUDA Version", "cuda_version", driver.cuda),
    )


def gpu_tree(gpu: Gpu) -> tuple[Entry, ...]:
    """The entries of one GPU from its name to its clocks; its processes follow."""
    return (
        *identity(gpu),
        pci(gpu),
        Entry("Fan Speed", "fan_speed", NA if gpu.board.has_ecc else f"{fan_pct(gpu)} %"),
        Entry("Performance State", "performance_state", "P0"),
        reasons(gpu),
        Entry("Sparse Operation Mode", "sparse_operation_mode", NA),
        *memory(gpu),
        Entry("Compute Mode", "compute_mode", "Default"),
        utilization(gpu),
        session_stats("Encoder Stats", "encoder_stats"),
        session_stats("FBC Stats", "fbc_stats"),
        *ecc(gpu),
        temperature(gpu),
        *power(gpu),
        *clocks(gpu),
        fabric(gpu),
    )
