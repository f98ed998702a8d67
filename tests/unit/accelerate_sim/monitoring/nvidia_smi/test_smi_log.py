"""``-q`` and ``-q -x``: what parsers rely on."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest

from accelerate_sim.monitoring.nvidia_smi.displays import DISPLAYS
from accelerate_sim.monitoring.nvidia_smi.reading import Reading
from accelerate_sim.monitoring.nvidia_smi.report import text_log, xml_log

Look = Callable[..., Reading]
OF_A_GPU = [
    "product_name",
    "product_brand",
    "product_architecture",
    "display_mode",
    "display_active",
    "persistence_mode",
    "addressing_mode",
    "mig_mode",
    "mig_devices",
    "accounting_mode",
    "accounting_mode_buffer_size",
    "driver_model",
    "serial",
    "uuid",
    "minor_number",
    "vbios_version",
    "multigpu_board",
    "board_id",
    "board_part_number",
    "gpu_part_number",
    "gpu_fru_part_number",
    "gpu_module_id",
    "inforom_version",
    "inforom_bbx_flush",
    "gpu_operation_mode",
    "c2c_mode",
    "gpu_virtualization_mode",
    "gpu_reset_status",
    "gsp_firmware_version",
    "ibmnpu",
    "pci",
    "fan_speed",
    "performance_state",
    "clocks_event_reasons",
    "sparse_operation_mode",
    "fb_memory_usage",
    "bar1_memory_usage",
    "cc_protected_memory_usage",
    "compute_mode",
    "utilization",
    "encoder_stats",
    "fbc_stats",
    "ecc_mode",
    "ecc_errors",
    "retired_pages",
    "remapped_rows",
    "temperature",
    "supported_gpu_target_temp",
    "gpu_power_readings",
    "gpu_memory_power_readings",
    "module_power_readings",
    "clocks",
    "applications_clocks",
    "default_applications_clocks",
    "deferred_clocks",
    "max_clocks",
    "max_customer_boost_clocks",
    "clock_policy",
    "voltage",
    "fabric",
    "supported_clocks",
    "processes",
    "accounted_processes",
]
"""Elements of a GPU in nvsmi_device_v12.dtd's order, as driver 550.54 wrote them."""
PATHS = (
    "pci/pci_gpu_link_info/pcie_gen/max_link_gen", "pci/pci_gpu_link_info/link_widths/current_link_width",
    "clocks_event_reasons/clocks_event_reason_sw_power_cap", "ecc_errors/volatile/dram_correctable",
    "ecc_errors/aggregate/sram_uncorrectable_parity", "retired_pages/double_bit_retirement/retired_count",
    "remapped_rows/row_remapper_histogram/row_remapper_histogram_max", "temperature/gpu_temp_max_mem_tlimit_threshold",
    "gpu_power_readings/power_state", "module_power_readings/current_power_limit", "fabric/health/bandwidth",
    "supported_clocks/supported_mem_clock/value", "processes/process_info/gpu_instance_id",
)  # fmt: skip


def test_the_xml_is_well_formed_and_names_its_grammar(look: Look):
    text = xml_log(look())
    assert text.startswith(
        '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n<nvidia_smi_log>\n'
    )
    root = ElementTree.fromstring(text)
    assert [child.tag for child in root] == ["timestamp", "driver_version", "cuda_version", "attached_gpus"] + 8 * [
        "gpu"
    ]


@pytest.mark.parametrize("gpu", ["H100-SXM", "V100-32-SXM", "RTX-4090"])
def test_elements_stand_in_the_grammars_order(look: Look, gpu: str):
    root = ElementTree.fromstring(xml_log(look(gpu)))
    for each in root.iter("gpu"):
        assert [child.tag for child in each] == OF_A_GPU


def test_what_parsers_reach_for_is_there(look: Look):
    reading = look()
    root = ElementTree.fromstring(xml_log(reading))
    for element, gpu in zip(root.iter("gpu"), reading.gpus, strict=True):
        missing = [path for path in PATHS if element.find(path) is None]
        assert missing == []
        assert element.get("id") == gpu.bus_id == element.findtext("pci/pci_bus_id")
        assert element.findtext("fb_memory_usage/used") == f"{gpu.used_mib} MiB"
        assert element.findtext("utilization/gpu_util") == f"{gpu.utilization_pct} %"
        assert element.findtext("temperature/gpu_temp") == f"{gpu.temperature_c} C"
        assert element.findtext("gpu_power_readings/power_draw") == f"{gpu.power_w:.2f} W"
        assert element.findtext("processes/process_info/pid") == "4711"


def test_text_in_the_xml_is_escaped(look: Look):
    from dataclasses import replace

    reading = look()
    strange = replace(reading.gpus[0], command="/opt/<a & b>/python")
    root = ElementTree.fromstring(xml_log(replace(reading, gpus=(strange,))))
    assert root.findtext("gpu/processes/process_info/process_name") == "/opt/<a & b>/python"


def test_the_text_puts_every_value_in_one_column(look: Look):
    lines = text_log(look()).splitlines()
    assert lines[1] == "==============NVSMI LOG=============="
    values = [line for line in lines if " : " in line]
    assert len(values) > 8 * 130
    assert {line.index(": ") for line in values} == {42}
    assert re.fullmatch(r"GPU 00000000:[0-9A-F]{2}:00\.0", lines[8])


def test_text_and_xml_say_the_same(look: Look):
    reading = look()
    text, root = text_log(reading), ElementTree.fromstring(xml_log(reading))
    for label, path in (
        ("Product Name", "product_name"), ("GPU UUID", "uuid"), ("Gpu", "utilization/gpu_util"),
        ("GPU Current Temp", "temperature/gpu_temp"), ("Used", "fb_memory_usage/used"),
    ):  # fmt: skip
        said = re.findall(rf"^ +{label} +: (.*)$", text, re.M)
        assert [value for element in root.iter("gpu") if (value := element.findtext(path)) in said]
        assert len(said) >= 8


@pytest.mark.parametrize("display", DISPLAYS)
def test_one_display_shows_only_itself(look: Look, display: str):
    text = text_log(look(driver=570), [display])
    assert ("Product Name" in text, "Attached GPUs" in text) == (False, True)
    assert len(text) > 8 * 60 + 100
