"""Layouts of the tool in the branches of the driver."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache

import pytest

from accelerate_sim.monitoring.nvidia_smi.overview import table
from accelerate_sim.monitoring.nvidia_smi.reading import Reading
from accelerate_sim.monitoring.nvidia_smi.report import text_log, xml_log

Look = Callable[..., Reading]
BRANCHES = (550, 570, 580, 590, 610)


@cache
def elements(reading: Reading) -> frozenset[str]:
    """The elements of the first GPU, sections with their parts."""
    gpu = ElementTree.fromstring(xml_log(reading)).find("gpu")
    assert gpu is not None
    parts = {f"{child.tag}/{part.tag}" for child in gpu for part in child}
    return frozenset(parts | {child.tag for child in gpu})


def labels(reading: Reading) -> list[str]:
    return [line.partition(" : ")[0].strip() for line in text_log(reading).splitlines()]


@pytest.mark.parametrize(
    "element, first, last",
    [
        ("gpu_module_id", 550, 550),
        ("platformInfo/module_id", 570, 610),
        ("gpu_reset_status/reset_required", 550, 570),
        ("gpu_recovery_action", 570, 610),
        ("dram_encryption_mode/current_dram_encryption", 570, 610),
        ("gpu_power_readings/power_draw", 550, 550),
        ("gpu_power_readings/average_power_draw", 570, 610),
        ("gpu_memory_power_readings/instant_power_draw", 570, 610),
        ("module_power_readings/instant_power_draw", 570, 610),
        ("power_smoothing", 570, 610),
        ("power_profiles/power_profile_requested_profiles", 570, 610),
        ("capabilities/egm", 570, 610),
        ("voltage/graphics_volt", 550, 570),
        ("display_attached", 580, 610),
        ("pdi", 580, 610),
        ("clocks_event_reasons_counters/clocks_event_reasons_counters_sw_power_cap", 580, 610),
        ("ecc_errors/channel_repair_pending", 580, 610),
        ("ecc_errors/unrepairable_memory", 590, 610),
        ("edpp_multiplier", 590, 610),
        ("remapped_rows/remapped_row_corr_inactive", 610, 610),
    ],
)
def test_an_element_is_there_from_its_first_driver_to_its_last(look: Look, element: str, first: int, last: int):
    having = [branch for branch in BRANCHES if element in elements(look(driver=branch))]
    assert having == [branch for branch in BRANCHES if first <= branch <= last]


@pytest.mark.parametrize("branch, column", [(550, 42), (570, 42), (580, 55), (590, 55), (610, 55)])
def test_values_stand_in_the_drivers_column(look: Look, branch: int, column: int):
    columns = {line.index(" : ") + 1 for line in text_log(look(driver=branch)).splitlines() if " : " in line}
    assert columns == {column, 42}, "the lines of processes have stayed where they were"
    assert (f"nvsmi_device_v{'13' if branch >= 580 else '12'}.dtd" in xml_log(look(driver=branch))) is True


@pytest.mark.parametrize("branch", BRANCHES)
def test_each_driver_has_its_cuda_version_in_every_output(look: Look, branch: int):
    reading = look(driver=branch)
    driver = reading.board.driver
    root = ElementTree.fromstring(xml_log(reading))
    assert (root.findtext("driver_version"), root.findtext("cuda_version")) == (driver.version, driver.cuda)
    names = ("KMD Version", "CUDA UMD Version") if branch >= 610 else ("Driver Version", "CUDA Version")
    title = re.search(r"\| NVIDIA-SMI (\S+) +(\D+): (\S+) +(\D+): (\S+) +\|", table(reading))
    assert title and title.groups() == (driver.version, names[0], driver.version, names[1], driver.cuda)
    assert set(names) <= set(labels(reading))


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("gpu", ["H100-SXM", "L40S", "RTX-4090", "A100-40-SXM"])
def test_the_table_keeps_its_frame(look: Look, branch: int, gpu: str):
    assert {len(line) for line in table(look(gpu, driver=branch)).splitlines()[1:]} <= {91, 89, 0}


def test_volta_counts_errors_by_cache_and_retires_pages(look: Look):
    gpu = ElementTree.fromstring(xml_log(look("V100-32-SXM", driver=570))).find("gpu")
    assert gpu is not None
    assert gpu.findtext("ecc_errors/volatile/double_bit/device_memory") == "0"
    assert gpu.findtext("ecc_errors/aggregate/single_bit/cbu") == "N/A"
    assert gpu.findtext("retired_pages/double_bit_retirement/retired_count") == "0"
    assert gpu.findtext("gpu_power_readings/average_power_draw") == "N/A"
    assert gpu.findtext("gpu_power_readings/instant_power_draw", "").endswith(" W")


def test_the_power_of_memory_is_a_part_of_the_boards(look: Look):
    reading = look(driver=590)
    root = ElementTree.fromstring(xml_log(reading))
    for element, gpu in zip(root.iter("gpu"), reading.gpus, strict=True):
        memory = element.findtext("gpu_memory_power_readings/average_power_draw", "")
        assert 40.0 < float(memory.removesuffix(" W")) < 0.5 * gpu.power_w
