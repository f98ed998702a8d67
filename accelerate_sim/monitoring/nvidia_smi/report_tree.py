"""``-q``: all properties of all GPUs as one tree, from which the text and the XML are made.

Order and names are those of the branch of the driver: 550 to 610.
"""

from __future__ import annotations

from accelerate_sim.monitoring.nvidia_smi.overview import TIME, fan_pct
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading
from accelerate_sim.monitoring.nvidia_smi.readings import has_sparsity_mode
from accelerate_sim.monitoring.nvidia_smi.report_board import fabric, identity, pci
from accelerate_sim.monitoring.nvidia_smi.report_entry import NA, ReportEntry
from accelerate_sim.monitoring.nvidia_smi.report_errors import errors
from accelerate_sim.monitoring.nvidia_smi.report_power import clocks, power, temperature
from accelerate_sim.monitoring.nvidia_smi.report_state import memory, reasons, session_stats, utilization


def heading(reading: Reading) -> tuple[ReportEntry, ...]:
    """The entries before the GPUs."""
    version, cuda = reading.board.driver.version, reading.board.driver.cuda
    time = ReportEntry("Timestamp", "timestamp", reading.time.strftime(TIME))
    if reading.board.driver.major < 610:
        return (
            time,
            ReportEntry("Driver Version", "driver_version", version),
            ReportEntry("CUDA Version", "cuda_version", cuda),
        )
    notice = "[Deprecated; will be removed in CUDA 14.0. Use {} Version instead]"
    return (
        time,
        ReportEntry("Driver Version", "driver_version", f"{version} {notice.format('KMD')}", version),
        ReportEntry("CUDA Version", "cuda_version", f"{cuda} {notice.format('CUDA UMD')}", cuda),
        ReportEntry("KMD Version", "kmd_version", version),
        ReportEntry("CUDA UMD Version", "cuda_umd_version", cuda),
    )


def gpu_tree(gpu: Gpu) -> tuple[ReportEntry, ...]:
    """The entries of one GPU from its name to its clocks; its processes follow."""
    return (
        *identity(gpu),
        pci(gpu),
        ReportEntry("Fan Speed", "fan_speed", NA if gpu.board.has_ecc else f"{fan_pct(gpu)} %"),
        ReportEntry("Performance State", "performance_state", "P0"),
        *reasons(gpu),
        ReportEntry("Sparse Operation Mode", "sparse_operation_mode", "Disabled" if has_sparsity_mode(gpu) else NA),
        *memory(gpu),
        ReportEntry("Compute Mode", "compute_mode", "Default"),
        utilization(gpu),
        session_stats("Encoder Stats", "encoder_stats"),
        session_stats("FBC Stats", "fbc_stats"),
        *errors(gpu),
        temperature(gpu),
        *power(gpu),
        *clocks(gpu),
        fabric(gpu),
    )
