"""``dmon`` and ``pmon``: columns that scripts read by their headings."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from accelerate_sim.monitoring.nvidia_smi.monitors import MonitorTable
from accelerate_sim.monitoring.nvidia_smi.reading import Reading

Look = Callable[..., Reading]


def cells(monitor: MonitorTable, reading: Reading) -> list[dict[str, str]]:
    """The samples by the names of their columns."""
    names = monitor.heading().splitlines()[0].lstrip("#").split()
    return [dict(zip(names, line.split(), strict=True)) for line in monitor.sample(reading).splitlines()]


@pytest.mark.parametrize("groups", ["puc", "pucvmet", "t", "mutc"])
@pytest.mark.parametrize("moments", ["", "T", "D", "DT"])
def test_headings_and_samples_end_in_the_same_columns(look: Look, groups: str, moments: str):
    monitor = MonitorTable("dmon", groups, moments)
    names, units = monitor.heading().splitlines()
    assert len(names) == len(units)
    ends = {match.end() for match in re.finditer(r"\S+", names[len("#YYYYMMDD    HH:MM:SS     ") if moments else 2 :])}
    for line in monitor.sample(look()).splitlines():
        assert len(line) == len(names) and line.endswith(" ")
        assert len(line.split()) == len(names.lstrip("#").split())
    assert ends


def test_a_sample_has_the_figures_of_the_table(look: Look):
    reading = look()
    for row, gpu in zip(cells(MonitorTable("dmon", "pucmvet", ""), reading), reading.gpus, strict=True):
        assert row["gpu"] == str(gpu.index)
        assert (row["pwr"], row["gtemp"], row["sm"]) == (
            str(int(gpu.power_w)), str(gpu.temperature_c), str(gpu.utilization_pct)
        )  # fmt: skip
        assert (row["fb"], row["pclk"], row["sbecc"], row["dbecc"]) == (str(gpu.used_mib), str(gpu.clock_mhz), "0", "0")
        assert row["rxpci"] == row["txpci"]


@pytest.mark.parametrize("gpu, missing", [("RTX-4090", {"mtemp", "sbecc", "dbecc"}), ("V100-32-SXM", {"jpg", "ofa"})])
def test_what_a_board_lacks_is_a_dash(look: Look, gpu: str, missing: set[str]):
    [row, *_] = cells(MonitorTable("dmon", "pue", ""), look(gpu))
    assert {name for name, value in row.items() if value == "-"} == missing


def test_processes(look: Look):
    reading = look()
    monitor = MonitorTable("pmon", "um", "")
    assert monitor.heading().splitlines()[0] == (
        "# gpu         pid   type     sm    mem    enc    dec    jpg    ofa     fb   ccpm    command "
    )
    for row, gpu in zip(cells(monitor, reading), reading.gpus, strict=True):
        assert (row["pid"], row["type"], row["command"]) == ("4711", "C", "python3.11")
        assert row["fb"] == str(gpu.process_mib)
    idle = cells(MonitorTable("pmon", "u", ""), look(second=1e9, steps=100))
    assert {value for row in idle for name, value in row.items() if name != "gpu"} == {"-"}
