"""``--query-gpu`` and ``--query-compute-apps`` as scripts read them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from accelerate_sim.monitoring.nvidia_smi.query import CsvFormat, Query, UnknownField, field_names
from accelerate_sim.monitoring.nvidia_smi.reading import Reading

Look = Callable[..., Reading]
ALL = [names.split(" or ")[0].strip('"') for names in field_names()]
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
    query = Query.of_gpus("index, name,memory.used,power.draw,clocks.sm,fan.speed,clocks_throttle_reasons.active")
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
    rows = csv.reader(io.StringIO(Query.of_gpus(fields).rows(look(), CsvFormat(units=False))), skipinitialspace=True)
    for row in rows:
        total, used, free, reserved, *_ = map(float, row)
        assert total == used + free + reserved


@pytest.mark.parametrize("gpu", ["H100-SXM", "RTX-4090", "V100-32-SXM", "B300"])
def test_every_property_has_a_value_on_every_gpu(look: Look, gpu: str):
    query, reading = Query.of_gpus(",".join(ALL)), look(gpu)
    table = csv.DictReader(io.StringIO(query.header() + query.rows(reading, CsvFormat())), skipinitialspace=True)
    rows = list(table)
    assert len(rows) == 8 and len(rows[0]) == len(ALL)
    assert all(value for row in rows for value in row.values())


def test_what_scripts_ask_for_is_known():
    assert len(Query.of_gpus(",".join(ASKED_FOR)).names) == len(ASKED_FOR) > 40


@pytest.mark.parametrize("field", ["cuda_version", "", "Name", "clocks_event_reasons.hw_power_brake"])
def test_an_unknown_property_is_refused_in_the_tools_words(field: str):
    with pytest.raises(UnknownField) as refused:
        Query.of_gpus(f"index,{field}")
    assert str(refused.value) == f'Field "{field}" is not a valid field to query.\n'


def test_processes(look: Look):
    query = Query.of_apps("gpu_uuid,pid,name,used_memory")
    assert query.header() == "gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n"
    reading = look()
    rows = [line.split(", ") for line in query.rows(reading, CsvFormat()).splitlines()]
    assert [row[0] for row in rows] == [gpu.uuid for gpu in reading.gpus]
    assert {row[1] for row in rows} == {"4711"}
    assert all(
        0 < gpu.used_mib - int(row[3].removesuffix(" MiB")) < 64 for row, gpu in zip(rows, reading.gpus, strict=True)
    )
