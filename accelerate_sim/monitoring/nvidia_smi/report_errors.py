"""``-q``: errors of a GPU's memory, and memory that was taken out of use."""

from __future__ import annotations

from collections.abc import Iterable

from accelerate_sim.monitoring.nvidia_smi.health import ErrorCounts
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu
from accelerate_sim.monitoring.nvidia_smi.readings import banks, has_sparsity_mode, is_volta
from accelerate_sim.monitoring.nvidia_smi.report_entry import NA, Entry, all_na, section

SOURCES = (("L2", "l2"), ("SM", "sm"), ("Microcontroller", "microcontroller"), ("PCIE", "pcie"), ("Other", "other"))
CACHES = (("Register File", "register_file"), ("L1 Cache", "l1_cache"), ("L2 Cache", "l2_cache"))
TEXTURES = all_na(("Texture Memory", "texture_memory"), ("Texture Shared", "texture_shm"))


def errors(gpu: Gpu) -> Iterable[Entry]:
    """Entries of encryption, ECC, and retired or remapped memory."""
    if gpu.branch >= 570:
        encryption = all_na(("Current", "current_dram_encryption"), ("Pending", "pending_dram_encryption"))
        yield section("DRAM Encryption Mode", "dram_encryption_mode", *encryption)
    mode = "Enabled" if gpu.board.has_ecc else NA
    yield section("ECC Mode", "ecc_mode", Entry("Current", "current_ecc", mode), Entry("Pending", "pending_ecc", mode))
    if is_volta(gpu):
        spans = (("Volatile", gpu.health.volatile), ("Aggregate", gpu.health.aggregate))
        yield section("ECC Errors", "ecc_errors", *(_by_cache(label, counts) for label, counts in spans))
    else:
        yield section("ECC Errors", "ecc_errors", *_by_memory(gpu))
    yield _retired_pages(gpu)
    yield _remapped_rows(gpu)


def _by_cache(label: str, counts: ErrorCounts) -> Entry:
    """Errors of one span of time as boards before Ampere count them."""

    def of(kind: str, tag: str, memory: int, total: int, cbu: str) -> Entry:
        caches = (Entry(name, each, "0") for name, each in CACHES)
        return section(
            # nvidia-smi prints blanks after this label
            f"{kind:<22}",
            tag,
            Entry("Device Memory", "device_memory", str(memory)),
            *caches,
            *TEXTURES,
            Entry("CBU", "cbu", cbu),
            Entry("Total", "total", str(total)),
        )

    return section(
        label,
        label.lower(),
        of("Single Bit", "single_bit", counts.dram_corrected, counts.corrected, NA),
        of("Double Bit", "double_bit", counts.dram_uncorrected, counts.uncorrected, "0"),
    )


def _by_memory(gpu: Gpu) -> Iterable[Entry]:
    """Errors as boards from Ampere on count them."""
    has_ecc, health = gpu.board.has_ecc, gpu.health

    def count(number: int) -> str:
        return str(number) if has_ecc else NA

    def flag(value: bool) -> str:
        return ("Yes" if value else "No") if has_ecc else NA

    def counters(counts: ErrorCounts) -> tuple[Entry, ...]:
        return (
            Entry("SRAM Correctable", "sram_correctable", count(counts.sram_corrected)),
            Entry("SRAM Uncorrectable Parity", "sram_uncorrectable_parity", count(counts.sram_parity)),
            Entry("SRAM Uncorrectable SEC-DED", "sram_uncorrectable_secded", count(counts.sram_secded)),
            Entry("DRAM Correctable", "dram_correctable", count(counts.dram_corrected)),
            Entry("DRAM Uncorrectable", "dram_uncorrectable", count(counts.dram_uncorrected)),
        )

    threshold = Entry("SRAM Threshold Exceeded", "sram_threshold_exceeded", flag(health.sram_threshold_exceeded))
    found = {"l2": health.aggregate.sram_uncorrected}
    yield section("Volatile", "volatile", *counters(health.volatile))
    yield section("Aggregate", "aggregate", *counters(health.aggregate), threshold)
    yield section(
        "Aggregate Uncorrectable SRAM Sources",
        "aggregate_uncorrectable_sram_sources",
        *(Entry(f"SRAM {label}", f"sram_{tag}", count(found.get(tag, 0))) for label, tag in SOURCES),
    )
    if gpu.branch >= 580:
        yield Entry("Channel Repair Pending", "channel_repair_pending", flag(False))
        yield Entry("TPC Repair Pending", "tpc_repair_pending", flag(False))
    if gpu.branch >= 590:
        unrepairable = flag(health.remapping_failed) if has_sparsity_mode(gpu) else NA
        yield Entry("Unrepairable Memory", "unrepairable_memory", unrepairable)


def _retired_pages(gpu: Gpu) -> Entry:
    # The text has only the count where the XML has a section.
    count, pending = ("0", "No") if is_volta(gpu) else (NA, NA)
    counts = (Entry("", "retired_count", count), Entry("", "retired_pagelist", NA if count == NA else ""))
    return section(
        "Retired Pages",
        "retired_pages",
        Entry("Single Bit ECC", "", count),
        section("", "multiple_single_bit_retirement", *counts),
        Entry("Double Bit ECC", "", count),
        section("", "double_bit_retirement", *counts),
        Entry("Pending Page Blacklist", "pending_blacklist", pending),
        Entry("", "pending_retirement", pending),
    )


def _remapped_rows(gpu: Gpu) -> Entry:
    if not gpu.board.remap_banks:
        return Entry("Remapped Rows", "remapped_rows", NA)
    health, inactive = gpu.health, gpu.branch >= 610
    names = (("Max", "max"), ("High", "high"), ("Partial", "partial"), ("Low", "low"), ("None", "none"))
    histogram = (
        Entry(label, f"row_remapper_histogram_{tag}", f"{count} bank(s)")
        for (label, tag), count in zip(names, banks(gpu), strict=True)
    )
    return section(
        "Remapped Rows",
        "remapped_rows",
        Entry("Correctable Error", "remapped_row_corr", str(health.remapped_correctable)),
        *((Entry("Inactive Correctable Error", "remapped_row_corr_inactive", "0"),) * inactive),
        Entry("Uncorrectable Error", "remapped_row_unc", str(health.remapped_uncorrectable)),
        *((Entry("Inactive Uncorrectable Error", "remapped_row_unc_inactive", "0"),) * inactive),
        Entry("Pending", "remapped_row_pending", "Yes" if health.remapping_pending else "No"),
        Entry("Remapping Failure Occurred", "remapped_row_failure", "Yes" if health.remapping_failed else "No"),
        section("Bank Remap Availability Histogram", "row_remapper_histogram", *histogram),
    )
