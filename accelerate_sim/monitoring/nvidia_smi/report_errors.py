"""``-q``: errors of a GPU's memory, and memory that was taken out of use."""

from __future__ import annotations

from collections.abc import Iterable

from accelerate_sim.monitoring.nvidia_smi.health import ErrorCounts
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu
from accelerate_sim.monitoring.nvidia_smi.readings import banks, has_sparsity_mode, is_volta
from accelerate_sim.monitoring.nvidia_smi.report_entry import NA, ReportEntry, all_na, section

SOURCES = (("L2", "l2"), ("SM", "sm"), ("Microcontroller", "microcontroller"), ("PCIE", "pcie"), ("Other", "other"))
CACHES = (("Register File", "register_file"), ("L1 Cache", "l1_cache"), ("L2 Cache", "l2_cache"))
TEXTURES = all_na(("Texture Memory", "texture_memory"), ("Texture Shared", "texture_shm"))


def errors(gpu: Gpu) -> Iterable[ReportEntry]:
    """Entries of encryption, ECC, and retired or remapped memory."""
    if gpu.branch >= 570:
        encryption = all_na(("Current", "current_dram_encryption"), ("Pending", "pending_dram_encryption"))
        yield section("DRAM Encryption Mode", "dram_encryption_mode", *encryption)
    mode = "Enabled" if gpu.board.has_ecc else NA
    yield section(
        "ECC Mode", "ecc_mode", ReportEntry("Current", "current_ecc", mode), ReportEntry("Pending", "pending_ecc", mode)
    )
    if is_volta(gpu):
        spans = (("Volatile", gpu.health.volatile), ("Aggregate", gpu.health.aggregate))
        yield section("ECC Errors", "ecc_errors", *(_by_cache(label, counts) for label, counts in spans))
    else:
        yield section("ECC Errors", "ecc_errors", *_by_memory(gpu))
    yield _retired_pages(gpu)
    yield _remapped_rows(gpu)


def _by_cache(label: str, counts: ErrorCounts) -> ReportEntry:
    """Errors of one span of time as boards before Ampere count them."""

    def of(kind: str, tag: str, memory: int, total: int, cbu: str) -> ReportEntry:
        caches = (ReportEntry(name, each, "0") for name, each in CACHES)
        return section(
            # nvidia-smi prints blanks after this label
            f"{kind:<22}",
            tag,
            ReportEntry("Device Memory", "device_memory", str(memory)),
            *caches,
            *TEXTURES,
            ReportEntry("CBU", "cbu", cbu),
            ReportEntry("Total", "total", str(total)),
        )

    return section(
        label,
        label.lower(),
        of("Single Bit", "single_bit", counts.dram_corrected, counts.corrected, NA),
        of("Double Bit", "double_bit", counts.dram_uncorrected, counts.uncorrected, "0"),
    )


def _by_memory(gpu: Gpu) -> Iterable[ReportEntry]:
    """Errors as boards from Ampere on count them."""
    has_ecc, health = gpu.board.has_ecc, gpu.health

    def count(number: int) -> str:
        return str(number) if has_ecc else NA

    def flag(value: bool) -> str:
        return ("Yes" if value else "No") if has_ecc else NA

    def counters(counts: ErrorCounts) -> tuple[ReportEntry, ...]:
        return (
            ReportEntry("SRAM Correctable", "sram_correctable", count(counts.sram_corrected)),
            ReportEntry("SRAM Uncorrectable Parity", "sram_uncorrectable_parity", count(counts.sram_parity)),
            ReportEntry("SRAM Uncorrectable SEC-DED", "sram_uncorrectable_secded", count(counts.sram_secded)),
            ReportEntry("DRAM Correctable", "dram_correctable", count(counts.dram_corrected)),
            ReportEntry("DRAM Uncorrectable", "dram_uncorrectable", count(counts.dram_uncorrected)),
        )

    threshold = ReportEntry("SRAM Threshold Exceeded", "sram_threshold_exceeded", flag(health.sram_threshold_exceeded))
    found = {"l2": health.aggregate.sram_uncorrected}
    yield section("Volatile", "volatile", *counters(health.volatile))
    yield section("Aggregate", "aggregate", *counters(health.aggregate), threshold)
    yield section(
        "Aggregate Uncorrectable SRAM Sources",
        "aggregate_uncorrectable_sram_sources",
        *(ReportEntry(f"SRAM {label}", f"sram_{tag}", count(found.get(tag, 0))) for label, tag in SOURCES),
    )
    if gpu.branch >= 580:
        yield ReportEntry("Channel Repair Pending", "channel_repair_pending", flag(False))
        yield ReportEntry("TPC Repair Pending", "tpc_repair_pending", flag(False))
    if gpu.branch >= 590:
        unrepairable = flag(health.remapping_failed) if has_sparsity_mode(gpu) else NA
        yield ReportEntry("Unrepairable Memory", "unrepairable_memory", unrepairable)


def _retired_pages(gpu: Gpu) -> ReportEntry:
    # The text has only the count where the XML has a section.
    count, pending = ("0", "No") if is_volta(gpu) else (NA, NA)
    counts = (ReportEntry("", "retired_count", count), ReportEntry("", "retired_pagelist", NA if count == NA else ""))
    return section(
        "Retired Pages",
        "retired_pages",
        ReportEntry("Single Bit ECC", "", count),
        section("", "multiple_single_bit_retirement", *counts),
        ReportEntry("Double Bit ECC", "", count),
        section("", "double_bit_retirement", *counts),
        ReportEntry("Pending Page Blacklist", "pending_blacklist", pending),
        ReportEntry("", "pending_retirement", pending),
    )


def _remapped_rows(gpu: Gpu) -> ReportEntry:
    if not gpu.board.remap_banks:
        return ReportEntry("Remapped Rows", "remapped_rows", NA)
    health, inactive = gpu.health, gpu.branch >= 610
    names = (("Max", "max"), ("High", "high"), ("Partial", "partial"), ("Low", "low"), ("None", "none"))
    histogram = (
        ReportEntry(label, f"row_remapper_histogram_{tag}", f"{count} bank(s)")
        for (label, tag), count in zip(names, banks(gpu), strict=True)
    )
    return section(
        "Remapped Rows",
        "remapped_rows",
        ReportEntry("Correctable Error", "remapped_row_corr", str(health.remapped_correctable)),
        *((ReportEntry("Inactive Correctable Error", "remapped_row_corr_inactive", "0"),) * inactive),
        ReportEntry("Uncorrectable Error", "remapped_row_unc", str(health.remapped_uncorrectable)),
        *((ReportEntry("Inactive Uncorrectable Error", "remapped_row_unc_inactive", "0"),) * inactive),
        ReportEntry("Pending", "remapped_row_pending", "Yes" if health.remapping_pending else "No"),
        ReportEntry("Remapping Failure Occurred", "remapped_row_failure", "Yes" if health.remapping_failed else "No"),
        section("Bank Remap Availability Histogram", "row_remapper_histogram", *histogram),
    )
