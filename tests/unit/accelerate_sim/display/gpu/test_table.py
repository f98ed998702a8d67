"""The GPU grid in all its forms."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.display.gpu.table import gpu_table
from accelerate_sim.display.style import Style, columns
from accelerate_sim.records import GpuRecord

PLAIN, COLOR, ASCII = Style(), Style(color=True), Style(ascii=True)
GIB = 2**30
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def record_of(nodes: int, per_node: int, seed: int = 0, **figures: object) -> GpuRecord:
    """A job whose GPUs differ; the power of GPU k is 1000 + k watts, which tells it from the others."""
    gpus = nodes * per_node
    rng = np.random.default_rng(seed)
    record = GpuRecord(
        run=1, step=120, gpus_per_node=per_node, memory_total_bytes=80 * GIB, power_limit_w=2000.0,
        slowdown_temperature_c=87.0,
        utilization_pct=rng.integers(90, 101, gpus).astype(float),
        memory_used_bytes=rng.integers(30 * GIB, 70 * GIB, gpus),
        temperature_c=np.round(rng.normal(50.0, 4.0, gpus), 1),
        power_w=1000.0 + np.arange(gpus),
        sm_clock_mhz=np.full(gpus, 1980.0),
        phase="step",
        elapsed_s=600.0,
    )  # fmt: skip
    return replace(record, **figures)


SMALL = replace(
    record_of(2, 2),
    utilization_pct=np.array([99.0, 100.0, 71.0, 98.0]),
    memory_used_bytes=np.array([456, 453, 760, 454]) * GIB // 10,
    temperature_c=np.array([49.1, 86.2, 48.5, 9.4]),
    power_w=np.array([392.0, 381.7, 390.3, 423.0]),
    power_limit_w=400.0,
)


def test_narrow_terminals_get_a_line_a_node() -> None:
    assert gpu_table(SMALL, 60, PLAIN) == [
        "4 GPUs · step 120 · 3 alerts · util 92.0% · 1.59 kW",
        "         util      max memory      temp     power",
        "node0   99.5%   45.6/80.0 GiB   49–86°C   0.77 kW",
        "node1   84.5%   76.0/80.0 GiB    9–48°C   0.81 kW",
    ]


def test_very_narrow_ones_get_what_fits() -> None:
    assert gpu_table(SMALL, 32, ASCII) == [
        "4 GPUs - step 120 - 3 alerts",
        "node0 100% 46/80G 49-86C 0.8kW",
        "node1  84% 76/80G  9-48C 0.8kW",
    ]
    assert gpu_table(SMALL, 20, PLAIN) == ["4 GPUs · step 120", "node0 100% 49–86°", "node1  84%  9–48°"]


def test_80_columns_hold_eight_gpus_of_a_node_in_two_lines() -> None:
    util, used = np.array([99.0, 100.0] * 8), np.arange(16) * GIB + 45 * GIB
    record = record_of(2, 8, power_w=np.arange(16) + 385.0, power_limit_w=700.0)
    record = replace(record, utilization_pct=util, memory_used_bytes=used, temperature_c=np.arange(16) + 48.2)
    assert gpu_table(record, 80, PLAIN) == [
        "16 GPUs · step 120 · util 99.5% · 6.28 kW · mem 60.0/80.0 GiB · 48–63°C",
        "node0  99% 48° 100% 49°  99% 50° 100% 51°  99% 52° 100% 53°  99% 54° 100% 55°",
        "GiB W   45 385   46 386   47 387   48 388   49 389   50 390   51 391   52 392",
        "node1  99% 56° 100% 57°  99% 58° 100% 59°  99% 60° 100% 61°  99% 62° 100% 63°",
        "GiB W   53 393   54 394   55 395   56 396   57 397   58 398   59 399   60 400",
    ]


def test_the_compact_form_shows_the_total_memory_where_it_fits() -> None:
    assert gpu_table(SMALL, 100, PLAIN) == [
        "4 GPUs · step 120 · 3 alerts · util 92.0% · 1.59 kW · mem 76.0/80.0 GiB · 9–86°C",
        "node0 │    99%  49° │   100%  86°",
        "  0–1 │ 46/80G 392W │ 45/80G 382W",
        "node1 │    71%  48° │    98%   9°",
        "  2–3 │ 76/80G 390W │ 45/80G 423W",
    ]


def test_wide_terminals_get_full_cells_labelled_with_their_ranks() -> None:
    assert gpu_table(SMALL, 160, ASCII, host="gpu-") == [
        "4 GPUs on 2 nodes - step 120 - 3 alerts - util 92.0% - 1.59 kW - mem 76.0/80.0 GiB - 9-86C",
        "gpu-0 0-1 |  99%  45.6/80.0 GiB  49C  392W | 100%  45.3/80.0 GiB  86C  382W",
        "gpu-1 2-3 |  71%  76.0/80.0 GiB  48C  390W |  98%  45.4/80.0 GiB   9C  423W",
    ]


def test_a_node_takes_the_fewest_lines_that_are_alike() -> None:
    record = record_of(2, 8, power_w=np.arange(16) + 385.0, power_limit_w=700.0)
    assert [len(gpu_table(record, width, PLAIN)) - 1 for width in (79, 80, 119, 120, 160, 200)] == [3, 4, 4, 4, 4, 2]
    assert gpu_table(record, 120, PLAIN)[2].startswith("        4–7 │ ")


def test_many_nodes_get_a_distribution_and_the_worst_gpus() -> None:
    record = record_of(125, 8, power_limit_w=1998.5)
    record.temperature_c[:] = 45.0 + np.arange(1000) % 11
    record.memory_used_bytes[:] = 45 * GIB
    record.utilization_pct[:] = 97.0 + np.arange(1000) % 3
    record.temperature_c[612] = 86.5
    record.utilization_pct[77] = 12.0
    assert gpu_table(record, 110, PLAIN)[:6] == [
        "1,000 GPUs · step 120 · 3 alerts · util 97.9% · 1.50 MW · mem 45.0/80.0 GiB · 45–86°C",
        "                min     25%  median     75%     max",
        "utilization      12      97      98      99      99  %             ▁                      █",
        "memory         45.0    45.0    45.0    45.0    45.0  GiB of 80.0   █",
        "temperature    45.0    47.0    50.0    53.0    86.5  °C            ███▄██                 ▁",
        "power          1000    1250    1500    1749    1999  W             " + "████████████████████████",
    ]
    assert gpu_table(record, 110, PLAIN)[6:] == [
        "worst         rank  77  node9    GPU 5  12% util, mean 98%",
        "              rank 612  node76   GPU 4  86.5°C, 0.5 below slowdown",
        "              rank 999  node124  GPU 7  1999 W, limit 1998",
        "              rank   0  node0    GPU 0  97% util, mean 98%",
    ]
    assert gpu_table(record, 40, PLAIN)[5:7] == ["power     1000    1500    1999", "rank 77 node9:5 12% util, mean 98%"]


def test_the_worst_of_many_is_the_slow_one() -> None:
    """Those who wait for it look as busy; its clock tells."""
    record = record_of(125, 8)
    record.sm_clock_mhz[:] = 1980.0
    record.sm_clock_mhz[345] = 1815.0
    [line] = [line for line in gpu_table(record, 110, PLAIN) if "MHz" in line]
    assert line.split(None, 1)[1].endswith("345  node43   GPU 1  1,815 MHz, median 1,980")


# --- Properties ---------------------------------------------------------------------------------

SHAPES = st.tuples(st.integers(1, 20), st.integers(1, 72)).filter(lambda shape: shape[0] * shape[1] <= 600)
HOSTS = st.sampled_from(["node", "n", "a-very-long-host-name-of-a-cluster-", "节点"])


@settings(max_examples=120, deadline=None)
@given(shape=SHAPES, width=st.integers(1, 300), seed=st.integers(0, 99), host=HOSTS, ascii_only=st.booleans())
def test_no_line_is_wider_than_the_terminal(
    shape: tuple[int, int], width: int, seed: int, host: str, ascii_only: bool
) -> None:
    record = record_of(*shape, seed=seed, temperature_c=np.linspace(-5.0, 120.0, shape[0] * shape[1]))
    plain = gpu_table(record, width, Style(ascii=ascii_only), host)
    assert all(columns(line) <= max(1, width - 1) for line in plain)
    assert not ascii_only or "".join(plain).isascii()
    colored = gpu_table(record, width, Style(color=True, ascii=ascii_only), host)
    assert [ESCAPES.sub("", line) for line in colored] == plain


@settings(max_examples=80, deadline=None)
@given(nodes=st.integers(1, 16), per_node=st.integers(1, 72), width=st.integers(80, 300), seed=st.integers(0, 99))
def test_every_gpu_appears_once_and_in_order(nodes: int, per_node: int, width: int, seed: int) -> None:
    nodes = min(nodes, 512 // per_node)
    lines = gpu_table(record_of(nodes, per_node, seed), width, PLAIN)[1:]
    watts = re.findall(r"(?<![\d.])1[0-5]\d\d(?!\d)", "\n".join(lines))
    assert [int(watt) - 1000 for watt in watts] == list(range(nodes * per_node))


@settings(max_examples=40, deadline=None)
@given(shape=st.tuples(st.integers(1, 16), st.integers(1, 16)), seed=st.integers(0, 99))
def test_all_forms_show_the_same_figures(shape: tuple[int, int], seed: int) -> None:
    record = record_of(*shape, seed=seed)
    full, compact = (_cells(gpu_table(record, width, ASCII)) for width in (300, 119))
    assert full == compact
    by_node = gpu_table(record, 79, ASCII)[2:]
    for node, line in enumerate(by_node):
        cells = full[node * shape[1] : (node + 1) * shape[1]]
        temps = [temp for _, temp in cells]
        assert f"{min(temps)}-{max(temps)}C" in line
        assert f"{sum(util for util, _ in cells) / len(cells):.1f}%" in line


def _cells(lines: list[str]) -> list[tuple[int, int]]:
    """(utilization, temperature) of every GPU."""
    body = "\n".join(lines[1:])
    utils, temps = re.findall(r"(\d+)%", body), re.findall(r" (\d+)C", body)
    return list(zip(map(int, utils), map(int, temps), strict=True))


# --- Health -------------------------------------------------------------------------------------

COLORS = {"32": "green", "33": "yellow", "31": "red"}


@pytest.mark.parametrize(
    ("figures", "colors"),
    [
        ({}, ["green"] * 4),
        ({"temperature_c": 80.9}, ["green", "green", "green", "green"]),
        ({"temperature_c": 81.0}, ["green", "green", "yellow", "green"]),
        ({"temperature_c": 85.0}, ["green", "green", "red", "green"]),
        ({"memory_used_bytes": 74.5 * GIB}, ["green", "yellow", "green", "green"]),
        ({"memory_used_bytes": 78.5 * GIB}, ["green", "red", "green", "green"]),
        ({"utilization_pct": 84.0}, ["yellow", "green", "green", "green"]),
        ({"utilization_pct": 59.0}, ["red", "green", "green", "green"]),
        ({"power_w": 2000.0}, ["green", "green", "green", "green"]),
        ({"power_w": 2001.0}, ["green", "green", "green", "red"]),
    ],
)
def test_figures_have_the_colour_of_their_health(figures: dict[str, float], colors: list[str]) -> None:
    record = record_of(1, 1, utilization_pct=np.array([99.0]), memory_used_bytes=np.array([40 * GIB]))
    changed = {name: np.array([value]).astype(getattr(record, name).dtype) for name, value in figures.items()}
    for width, form in ((60, 2), (100, 1), (160, 1)):
        lines = gpu_table(replace(record, **changed), width, COLOR)[form:]
        shown = [COLORS[code] for code in re.findall(r"\x1b\[(3[123])m", "".join(lines))]
        if width == 100:  # utilization and temperature stand above memory and power
            shown = [shown[0], shown[2], shown[1], shown[3]]
        assert shown == colors


def test_well_filled_memory_is_no_alert() -> None:
    """It is yellow, and nothing is wrong; a GPU that is about to run out is an alert."""
    headers = []
    for used in (76 * GIB, 79 * GIB):
        record = record_of(1, 1, utilization_pct=np.array([99.0]), memory_used_bytes=np.array([used]))
        headers.append(gpu_table(record, 160, PLAIN)[0])
    assert "alert" not in headers[0]
    assert "1 alert" in headers[1]
