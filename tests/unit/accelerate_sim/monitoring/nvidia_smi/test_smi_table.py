"""The default table, byte for byte where no figure of the run stands in it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from accelerate_sim import catalog
from accelerate_sim.monitoring.nvidia_smi.boards import board_of
from accelerate_sim.monitoring.nvidia_smi.node import NoJob
from accelerate_sim.monitoring.nvidia_smi.overview import listing, table
from accelerate_sim.monitoring.nvidia_smi.reading import Reading

Look = Callable[..., Reading]

HEAD_550 = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 550.90.12              Driver Version: 550.90.12      CUDA Version: 12.4     |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
"""
PROCESSES_550 = """\
+-----------------------------------------+------------------------+----------------------+
                                                                                         
+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|  GPU   GI   CI        PID   Type   Process name                              GPU Memory |
|        ID   ID                                                               Usage      |
|=========================================================================================|
|    0   N/A  N/A      4711      C   ...iniconda3/envs/llama/bin/python3.11  """
GPU_ROWS = re.compile(
    r"\| +(?P<index>\d)  (?P<name>.{27})    On  \|   (?P<bus>[0-9A-F]{8}:[0-9A-F]{2}:00\.0) Off \| {20}0 \|\n"
    r"\| N/A +(?P<temperature>\d+)C    P0 +(?P<power>\d+)W / +700W \| +(?P<used>\d+)MiB /  81559MiB \|"
    r" +(?P<utilization>\d+)%      Default \|\n"
    r"\| {41}\| {24}\| {13}Disabled \|\n"
)


def test_the_frame_is_the_tools(look: Look):
    lines = table(look()).splitlines(keepends=True)
    assert re.fullmatch(r"Mon Jan  5 \d\d:\d\d:\d\d 2026 {7}\n", lines[0])
    assert "".join(lines[1:8]) == HEAD_550
    assert PROCESSES_550 in "".join(lines)
    assert {len(line) for line in lines[1:]} == {92, 90}, "the gap between the tables is two columns narrower"


def test_each_gpu_has_the_tools_three_rows(look: Look):
    reading = look()
    found = list(GPU_ROWS.finditer(table(reading)))
    assert [int(row["index"]) for row in found] == list(range(8))
    for row, gpu in zip(found, reading.gpus, strict=True):
        assert row["name"].rstrip() == "NVIDIA H100 80GB HBM3"
        assert row["bus"] == gpu.bus_id
        figures = (int(row["temperature"]), int(row["used"]), int(row["utilization"]))
        assert figures == (gpu.temperature_c, gpu.used_mib, gpu.utilization_pct)
        assert abs(int(row["power"]) - gpu.power_w) <= 0.5


@pytest.mark.parametrize("gpu", [name for name in catalog.gpu_names() if board_of(catalog.gpu(name))])
def test_every_product_fits_the_frame(look: Look, gpu: str):
    reading = look(gpu)
    widths = {len(line) for line in table(reading).splitlines()[1:]}
    assert widths <= {91, 89, 0}
    assert table(reading).count("MiB /") == len(reading.gpus)


def test_blackwell_has_its_own_driver_and_wider_process_ids(look: Look):
    text = table(look("B200"))
    assert "| NVIDIA-SMI 570.124.06             Driver Version: 570.124.06     CUDA Version: 12.8     |" in text
    assert "|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |" in text


def test_a_board_without_ecc_has_a_fan_instead(look: Look):
    text = table(look("RTX-4090"))
    assert re.search(r"^\| +\d+% +\d+C", text, re.M)
    assert "Off |                  N/A |" in text


def test_amds_gpus_are_unknown_to_nvidias_driver(look: Look):
    with pytest.raises(NoJob, match="AMD Instinct MI300X"):
        look("MI300X")


def test_every_other_gpu_of_the_catalog_is_known():
    unknown = {name for name in catalog.gpu_names() if board_of(catalog.gpu(name)) is None}
    assert {catalog.gpu(name).vendor for name in unknown} == {"AMD"}


def test_the_list_is_what_scripts_parse(look: Look):
    lines = listing(look()).splitlines()
    form = r"GPU (\d): NVIDIA H100 80GB HBM3 \(UUID: (GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\)"
    found = [re.fullmatch(form, line) for line in lines]
    assert all(found) and [match[1] for match in found if match] == list("01234567")


def test_gpus_keep_their_names_whatever_the_moment_and_no_two_share_one(look: Look):
    seen = [gpu.uuid for node in range(8) for gpu in look(node=node).gpus]
    assert len(set(seen)) == 64
    assert [gpu.uuid for gpu in look(second=1.0).gpus] == seen[:8]
