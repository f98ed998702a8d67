"""Fields about memory errors, and about memory that was taken out of use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from accelerate_sim.monitoring.nvidia_smi.fields.field import (
    Field,
    Fields,
    if_,
    since,
    unavailable,
    yes_no,
)
from accelerate_sim.monitoring.nvidia_smi.health import ErrorCounts
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu
from accelerate_sim.monitoring.nvidia_smi.readings import banks, is_volta

PLACES = (
    "device_memory", "dram", "register_file", "l1_cache", "l2_cache", "texture_memory", "cbu", "sram", "total",
)  # fmt: skip
COUNTED_ON_VOLTA = {"device_memory", "register_file", "l1_cache", "l2_cache"}


def _counts(gpu: Gpu, span: str) -> ErrorCounts:
    return gpu.health.volatile if span == "volatile" else gpu.health.aggregate


def _count(gpu: Gpu, kind: str, span: str, place: str) -> object:
    counts, corrected = _counts(gpu, span), kind == "corrected"
    if place in ("device_memory", "dram"):
        return counts.dram_corrected if corrected else counts.dram_uncorrected
    if place == "sram":
        return counts.sram_corrected if corrected else counts.sram_uncorrected
    if place == "total":
        return counts.corrected if corrected else counts.uncorrected
    return 0


def _is_counted(gpu: Gpu, kind: str, place: str) -> bool:
    if not gpu.board.has_ecc:
        return False
    if is_volta(gpu):
        return place in COUNTED_ON_VOLTA or place == "total" or (place == "cbu" and kind == "uncorrected")
    return place in ("device_memory", "dram", "sram", "total")


def _counter(kind: str, span: str, place: str) -> Field:
    return if_(lambda gpu: _is_counted(gpu, kind, place), lambda gpu: _count(gpu, kind, span, place))


def _counters() -> Iterator[tuple[str, Field]]:
    for kind in ("corrected", "uncorrected"):
        for span in ("volatile", "aggregate"):
            for place in PLACES:
                yield f"ecc.errors.{kind}.{span}.{place}", _counter(kind, span, place)


def _sram(value: Callable[[Gpu], object]) -> Field:
    return if_(lambda gpu: gpu.board.has_ecc and not is_volta(gpu), value)


def _rows(value: Callable[[Gpu], object], *aliases: str) -> Field:
    return if_(lambda gpu: gpu.board.remap_banks, value, "", *aliases)


def _bank(place: int) -> Field:
    return _rows(lambda gpu: banks(gpu)[place])


_ROWS: Fields = {
    "remapped_rows.correctable": _rows(lambda gpu: gpu.health.remapped_correctable, "remapped_rows.sbe"),
    **since(610, {"remapped_rows.correctable_inactive": _rows(lambda gpu: 0)}),
    "remapped_rows.uncorrectable": _rows(lambda gpu: gpu.health.remapped_uncorrectable, "remapped_rows.dbe"),
    **since(610, {"remapped_rows.uncorrectable_inactive": _rows(lambda gpu: 0)}),
    "remapped_rows.pending": _rows(lambda gpu: yes_no(gpu.health.remapping_pending)),
    "remapped_rows.failure": _rows(lambda gpu: yes_no(gpu.health.remapping_failed)),
    "remapped_rows.histogram.max": _bank(0),
    "remapped_rows.histogram.high": _bank(1),
    "remapped_rows.histogram.partial": _bank(2),
    "remapped_rows.histogram.low": _bank(3),
    "remapped_rows.histogram.none": _bank(4),
}

ERRORS: Fields = {
    **since(570, {"dramEncryption.mode.current": unavailable(), "dramEncryption.mode.pending": unavailable()}),
    "ecc.mode.current": if_(lambda gpu: gpu.board.has_ecc, lambda gpu: "Enabled"),
    "ecc.mode.pending": if_(lambda gpu: gpu.board.has_ecc, lambda gpu: "Enabled"),
    **dict(_counters()),
    "ecc.errors.uncorrected.volatile.sram.parity": _sram(lambda gpu: gpu.health.volatile.sram_parity),
    "ecc.errors.uncorrected.volatile.sram.secded": _sram(lambda gpu: gpu.health.volatile.sram_secded),
    "ecc.errors.uncorrected.aggregate.sram.parity": _sram(lambda gpu: gpu.health.aggregate.sram_parity),
    "ecc.errors.uncorrected.aggregate.sram.secded": _sram(lambda gpu: gpu.health.aggregate.sram_secded),
    "ecc.errors.uncorrected.aggregate.sram.thresholdExceeded": _sram(
        lambda gpu: yes_no(gpu.health.sram_threshold_exceeded)
    ),
    "ecc.errors.uncorrected.aggregate.sram.l2": _sram(lambda gpu: gpu.health.aggregate.sram_uncorrected),
    "ecc.errors.uncorrected.aggregate.sram.sm": _sram(lambda gpu: 0),
    "ecc.errors.uncorrected.aggregate.sram.mcu": _sram(lambda gpu: 0),
    "ecc.errors.uncorrected.aggregate.sram.pcie": _sram(lambda gpu: 0),
    "ecc.errors.uncorrected.aggregate.sram.other": _sram(lambda gpu: 0),
    "retired_pages.single_bit_ecc.count": if_(is_volta, lambda gpu: 0, "", "retired_pages.sbe"),
    "retired_pages.double_bit.count": if_(is_volta, lambda gpu: 0, "", "retired_pages.dbe"),
    "retired_pages.pending": if_(is_volta, lambda gpu: "No"),
    **_ROWS,
}
