"""Figures as text."""

import pytest

from accelerate_sim.display.units import (
    bytes_text,
    count_text,
    duration_text,
    energy_text,
    gib_text,
    machines_text,
    rate_text,
    si_text,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (826, "826 B"), (9_106_176, "9.1 MB"), (141_107_412_992, "141.1 GB"), (999_960_000_000, "1.00 TB")],
)
def test_sizes_of_files_are_decimal(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("size", "text"), [(85_520_809_984, "79.6 GiB"), (2**29, "512 MiB"), (1000 * 2**20, "1.0 GiB"), (0, "0 MiB")]
)
def test_gpu_memory_is_binary(size: int, text: str) -> None:
    assert gib_text(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (512, "512"), (999.96, "1.00K"), (1_048_576, "1.05M"), (70_553_706_496, "70.55B"), (1.3e12, "1.30T")],
)
def test_counts_keep_two_decimals(count: float, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0:00:00"), (7.4, "0:00:07"), (3599.6, "1:00:00"), (93_784, "1d 02:03:04"), (1e8, "1,157d 09:46:40")],
)
def test_durations_show_days_only_where_there_are_some(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_rates_are_whole_tokens_unless_they_are_small() -> None:
    assert rate_text(42_382.4) == "42,382 tokens/s"
    assert rate_text(3.34) == "3.3 tokens/s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0 W"), (28_000, "28.0 kW"), (999.96, "1.0 kW"), (0.0852, "85.2 mW"), (0.9996, "1.0 W"), (1e-6, "1.0 µW")],
)
def test_si_prefixes_keep_figures_between_1_and_1000(value: float, text: str) -> None:
    assert si_text(value, "W") == text


def test_energy_is_told_in_watt_hours() -> None:
    assert energy_text(1.84428e9) == "512.3 kWh"


def test_one_machine_is_not_several():
    assert machines_text(1, 4) == "1 node x 4 GPUs"
    assert machines_text(16_384, 1) == "16,384 nodes x 1 GPU"
