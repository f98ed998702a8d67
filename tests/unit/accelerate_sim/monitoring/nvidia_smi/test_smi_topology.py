"""``topo -m`` and ``nvlink -s``: what scripts that place ranks read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from accelerate_sim.monitoring.nvidia_smi.health import Health
from accelerate_sim.monitoring.nvidia_smi.reading import Reading
from accelerate_sim.monitoring.nvidia_smi.topology import links, matrix

Look = Callable[..., Reading]


def rows(reading: Reading) -> dict[str, dict[str, str]]:
    """The cells of the matrix by row and column."""
    head, *lines = matrix(reading).split("\n\nLegend:")[0].splitlines()
    columns = head.replace("\x1b[4m", "").replace("\x1b[0m", "").split("\t")[1:]
    found = {}
    for line in lines:
        name, *cells = line.split("\t")
        found[name] = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    return found


@pytest.mark.parametrize(
    "gpu, count", [("H100-SXM", 18), ("A100-80-SXM", 12), ("H800", 8), ("B200", 18), ("H200-SXM", 18), ("L40S", 0)]
)
def test_gpus_are_connected_by_the_links_of_their_board(look: Look, gpu: str, count: int):
    reading = look(gpu)
    found = rows(reading)
    assert list(found) == [f"GPU{place}" for place in range(8)] + [f"NIC{place}" for place in range(8)]
    for one in range(8):
        for other in range(8):
            cell = found[f"GPU{one}"][f"GPU{other}"]
            assert cell == found[f"GPU{other}"][f"GPU{one}"]
            near = "NODE" if one // 4 == other // 4 else "SYS"
            assert cell == ("X" if one == other else f"NV{count}" if count else near)
    listed = links(reading).splitlines()
    assert sum("GB/s" in line for line in listed) == 8 * count
    assert ("Device does not have or support Nvlink" in listed) == (count == 0)


def test_each_gpu_has_an_adapter_and_a_socket(look: Look):
    found = rows(look())
    for place in range(8):
        row = found[f"GPU{place}"]
        assert row[f"NIC{place}"] == "PIX" == found[f"NIC{place}"][f"GPU{place}"]
        assert row["NUMA Affinity"] == str(place // 4)
        assert row["GPU NUMA ID"] == "" or row["GPU NUMA ID"] == "N/A"
    assert found["GPU0"]["CPU Affinity"] != found["GPU7"]["CPU Affinity"]
    assert "  NIC3: mlx5_3\n" in matrix(look())


def test_a_v100s_six_links_are_shared_among_four_neighbours(look: Look):
    found = rows(look("V100-32-SXM"))
    for one in range(8):
        cells = [found[f"GPU{one}"][f"GPU{other}"] for other in range(8) if other != one]
        assert sum(int(cell[2:]) for cell in cells if cell.startswith("NV")) == 6
        assert cells.count("SYS") == 3


def test_a_link_that_is_down_says_so(look: Look):
    reading = look()
    ill = replace(reading, gpus=(replace(reading.gpus[0], health=Health(links_down=frozenset({4}))),))
    lines = links(ill).splitlines()
    assert lines[5] == "\t Link 4: <inactive>" and sum("GB/s" in line for line in lines) == 17
