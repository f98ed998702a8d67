"""``--query-gpu`` and ``--query-compute-apps`` as scripts read them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from accelerate_sim.monitoring.nvidia_smi.health import ErrorCounts, Health
from accelerate_sim.monitoring.nvidia_smi.options import QUERIES, CsvFormat, InvalidArguments
from accelerate_sim.monitoring.nvidia_smi.overview import table
from accelerate_sim.monitoring.nvidia_smi.query import Query, known_fields
from accelerate_sim.monitoring.nvidia_smi.query_help import query_help
from accelerate_sim.monitoring.nvidia_smi.reading import Reading
from accelerate_sim.monitoring.nvidia_smi.report import text_log

CARDS = {
    "H100-SXM": "G520.0200.00.05, 7.16, 2560, 0",
    "L40S": "G133.0242.00.03, 6.16, 192, 0",
    "V100-32-SXM": "G503.0203.00.05, 5.0, [N/A], 0",
    "RTX-4090": "[N/A], [N/A], [N/A], [N/A]",
}
Look = Callable[..., Reading]
ASKED_FOR = [
    "index",
    "name",
    "uuid",
    "gpu_uuid",
    "pci.bus_id",
    "gpu_bus_id",
    "utilization.gpu",
    "utilization.memory",
    "memory.total",
    "memory.used",
    "memory.free",
    "memory.reserved",
    "temperature.gpu",
    "temperature.memory",
    "power.draw",
    "power.draw.instant",
    "power.draw.average",
    "power.limit",
    "enforced.power.limit",
    "power.max_limit",
    "clocks.sm",
    "clocks.mem",
    "clocks.gr",
    "clocks.current.sm",
    "clocks.max.sm",
    "clocks.max.mem",
    "clocks_throttle_reasons.active",
    "clocks_throttle_reasons.hw_slowdown",
    "clocks_event_reasons.active",
    "clocks_event_reasons.sw_power_cap",
    "clocks_event_reasons.sw_thermal_slowdown",
    "fan.speed",
    "pstate",
    "driver_version",
    "timestamp",
    "count",
    "serial",
    "gpu_serial",
    "vbios_version",
    "ecc.mode.current",
    "ecc.errors.corrected.volatile.total",
    "ecc.errors.uncorrected.aggregate.total",
    "mig.mode.current",
    "compute_mode",
    "compute_cap",
    "persistence_mode",
    "pcie.link.gen.current",
    "pcie.link.width.max",
]


def test_header_and_rows_have_the_tools_names_and_units(look: Look):
    query = Query.of(
        "gpu", "index, name,memory.used,power.draw,clocks.sm,fan.speed,clocks_throttle_reasons.active", 550
    )
    assert query.header() == (
        "index, name, memory.used [MiB], power.draw [W], clocks.current.sm [MHz], fan.speed [%], "
        "clocks_event_reasons.active\n"
    )
    reading = look()
    gpu = reading.gpus[0]
    first = query.rows(reading, CsvFormat()).splitlines()[0]
    assert first == (
        f"0, NVIDIA H100 80GB HBM3, {gpu.used_mib} MiB, {gpu.power_w:.2f} W, {gpu.clock_mhz} MHz, [N/A], "
        "0x0000000000000000"
    )


def test_nounits_leaves_numbers(look: Look):
    fields = "memory.total,memory.used,memory.free,memory.reserved,utilization.gpu,power.draw,clocks.max.mem"
    rows = csv.reader(
        io.StringIO(Query.of("gpu", fields, 550).rows(look(), CsvFormat(units=False))), skipinitialspace=True
    )
    for row in rows:
        total, used, free, reserved, *_ = map(float, row)
        assert total == used + free + reserved


@pytest.mark.parametrize(
    "gpu, driver",
    [
        ("H100-SXM", 550), ("H100-SXM", 570), ("H100-SXM", 580), ("H100-SXM", 590), ("H100-SXM", 610),
        ("RTX-4090", 550), ("V100-32-SXM", 550), ("B300", 580), ("L40S", 610), ("GB200", 570),
    ],
)  # fmt: skip
def test_every_field_of_a_driver_has_a_value_on_every_gpu(look: Look, gpu: str, driver: int):
    names, reading = list(known_fields("gpu", driver)), look(gpu, driver=driver)
    query = Query.of("gpu", ",".join(names), driver)
    table = csv.DictReader(io.StringIO(query.header() + query.rows(reading, CsvFormat())), skipinitialspace=True)
    rows = list(table)
    assert len(rows) == 8 and len(rows[0]) == len(names)
    assert {name for row in rows for name, value in row.items() if not value} <= {"platform.chassis_serial_number"}


@pytest.mark.parametrize("driver, count", [(550, 166), (570, 187), (580, 197), (590, 212), (610, 241)])
def test_later_drivers_know_more(driver: int, count: int):
    assert len(known_fields("gpu", driver)) == count


def test_a_field_comes_and_goes_with_its_driver(look: Look):
    def cell(field: str, driver: int) -> str:
        return Query.of("gpu", field, driver).rows(look(driver=driver), CsvFormat()).splitlines()[0]

    assert cell("reset_status.reset_required", 550) == "No"
    assert "deprecated" in cell("reset_status.reset_required", 570)
    assert cell("gpu_recovery_action", 570) == "None"
    assert cell("clocks.applications.graphics", 580) == "1980 MHz"
    assert "deprecated" in cell("clocks.applications.graphics", 590)
    for field, driver in (("reset_status.reset_required", 580), ("gpu_recovery_action", 550), ("kmd_version", 590)):
        with pytest.raises(InvalidArguments):
            Query.of("gpu", field, driver)


def test_what_is_known_of_a_board_is_told(look: Look):
    fields = "inforom.img,inforom.ecc,remapped_rows.histogram.max,ecc.errors.uncorrected.volatile.device_memory"
    rows = {gpu: Query.of("gpu", fields, 550).rows(look(gpu), CsvFormat()).splitlines()[0] for gpu in CARDS}
    assert rows == CARDS


def test_faults_reach_every_query(look: Look):
    """One place holds a GPU's counters; nothing else is to be changed for them to be seen."""
    counts = ErrorCounts(dram_corrected=7, sram_parity=1, dram_uncorrected=2)
    health = Health(volatile=counts, remapped_uncorrectable=3, remapping_pending=True, recovery_action="Reset")
    reading = look(driver=590)
    ill = replace(reading, gpus=(replace(reading.gpus[0], health=health),))
    fields = (
        "ecc.errors.corrected.volatile.total,ecc.errors.uncorrected.volatile.total,"
        "ecc.errors.uncorrected.volatile.sram.parity,gpu_recovery_action,remapped_rows.pending"
    )
    assert Query.of("gpu", fields, 590).rows(ill, CsvFormat()) == "7, 3, 1, Reset, Yes\n"
    rows = Query.of("remapped-rows", "remapped_rows.dbe,remapped_rows.histogram.high", 590)
    assert rows.rows(ill, CsvFormat()) == "3, 3\n"
    assert "|                    3 |" in table(ill)
    assert re.search(r"(?m)^ +GPU Recovery Action +: Reset$", text_log(ill))


def test_what_scripts_ask_for_is_known():
    assert len(Query.of("gpu", ",".join(ASKED_FOR), 550).fields) == len(ASKED_FOR) > 40


@pytest.mark.parametrize("field", ["cuda_version", "", "Name", "clocks_event_reasons.hw_power_brake"])
def test_an_unknown_property_is_refused_in_the_tools_words(field: str):
    with pytest.raises(InvalidArguments) as refused:
        Query.of("gpu", f"index,{field}", 550)
    assert str(refused.value) == f'Field "{field}" is not a valid field to query.\n\n'


@pytest.mark.parametrize("kind", QUERIES)
def test_help_puts_a_blank_line_before_each_field_and_a_description_after_it(kind: str):
    """Exporters find the fields by the line before them."""
    for driver in (550, 570, 580, 590, 610):
        text, fields = query_help(kind, driver), known_fields(kind, driver)
        found = re.findall(r'\n\s*\n"([^"]+)"[^\n]*\n(?!")\S', text)
        assert found == list(fields), driver
        assert all(f'"{alias}"' in text for field in fields.values() for alias in field.aliases), driver


@pytest.mark.parametrize("kind", QUERIES)
def test_every_field_of_every_query_can_be_asked_for(look: Look, kind: str):
    query = Query.of(kind, ",".join(known_fields(kind, 550)), 550)
    rows = query.rows(look(), CsvFormat()).splitlines()
    assert len(rows) == {"accounted-apps": 0, "retired-pages": 16}.get(kind, 8)
    assert {row.count(", ") for row in rows} <= {len(query.fields) - 1}


def test_processes(look: Look):
    query = Query.of("compute-apps", "gpu_uuid,pid,name,used_memory", 550)
    assert query.header() == "gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n"
    reading = look()
    rows = [line.split(", ") for line in query.rows(reading, CsvFormat()).splitlines()]
    assert [row[0] for row in rows] == [gpu.uuid for gpu in reading.gpus]
    assert {row[1] for row in rows} == {"4711"}
    assert all(
        0 < gpu.used_mib - int(row[3].removesuffix(" MiB")) < 64 for row, gpu in zip(rows, reading.gpus, strict=True)
    )
