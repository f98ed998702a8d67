"""Identities between the numbers of a run, each computed from metrics.jsonl and again from what is printed: the model,
its memory, its files, the links and the GPUs.
"""

from __future__ import annotations

import math
import re

import pytest

from accelerate_sim import catalog
from tests.support.printed_figures import checkpoints, sum_of
from tests.support.reading import Interval, Played, clock, count, power_falls, printed

# --- 4: the model ---------------------------------------------------------------------------------


def parameters_of(run: Played) -> int:
    """All parameters, from the printed architecture."""
    shape = run.architecture()
    layers, hidden, ffn, vocab = shape["layers"], shape["hidden"], shape["ffn"], shape["vocab"]
    attention = 2 * hidden * (hidden // shape["heads"]) * (shape["heads"] + shape["kv heads"])
    if "GPT2" in run.said("Loading model").message:  # biases and two layer norms; tied head; learned positions
        layer = attention + 2 * hidden * ffn + 9 * hidden + ffn
        return layers * layer + 2 * hidden + vocab * hidden + shape["context"] * hidden
    mlp = 3 * hidden * ffn * shape.get("experts", 1) + hidden * shape.get("experts", 0)
    return layers * (attention + mlp + 2 * hidden) + hidden + 2 * vocab * hidden


@pytest.mark.parametrize("name", ["llama", "small", "experts"])
def test_parameters_follow_from_the_printed_architecture(name: str, request: pytest.FixtureRequest) -> None:
    """4."""
    run: Played = request.getfixturevalue(name)
    said = run.match(r"Parameters: ([\d,]+) \(([\d.]+[MBT])\).*")
    assert count(said[1]) == parameters_of(run)
    assert printed(said[2]).agrees(parameters_of(run))


def test_model_exported_is_the_model_trained(run: Played) -> None:
    """4. The same parameters at the start, in the plan and at the end; heads share the width evenly."""
    shape, start, summary = run.architecture(), run.start, run.summary_event
    assert shape["hidden"] % shape["heads"] == 0
    assert shape["heads"] % shape["kv heads"] == 0
    assert (shape["layers"], shape["hidden"], shape["heads"], shape["vocab"]) == tuple(
        start[key] for key in ("layers", "hidden", "heads", "vocab")
    )
    said = count(run.match(r"Parameters: ([\d,]+) .*")[1])
    assert said == start["params"] == summary["parameters"]
    assert count(run.summary["Parameters"].split("(")[1].rstrip(")")) == said
    assert run.said("Exporting").message == f"Exporting {summary['model']} to {summary['export_path']}"
    assert any(line.startswith(f"│ Run 1: {summary['model']} ") for line in run.lines)


# --- 5: memory ------------------------------------------------------------------------------------


def test_memory_is_what_was_planned(run: Played) -> None:
    """5. The fullest GPU holds what the plan says, within a few per cent; none holds more than it has."""
    start, capacity = run.start, catalog.gpu(run.start["gpu"]).memory_bytes
    troubled = {event["rank"] for event in run.of("warning") if event["kind"] == "memory"}
    # What cannot be smaller: weights and optimizer state, shared by everyone.
    floor = 14 * start["params"] / start["world_size"]
    assert run.stepping_gpus
    for event in run.stepping_gpus:
        used = [size for rank, size in enumerate(event["memory_used_bytes"]) if rank not in troubled]
        assert max(used) == pytest.approx(start["memory_per_gpu_bytes"], rel=0.02, abs=0.5 * 2**30)
        assert floor < min(used)
        assert max(event["memory_used_bytes"]) <= capacity


def test_printed_memory_is_one_figure(run: Played) -> None:
    """5. The detail line is rank 0's cell of the grid; what a GPU has is the same everywhere."""
    capacity = run.match(r"rank +0 \| .* \| ([\d.]+) GiB")[1]
    assert {line.memory_total for line in run.step_lines} == {capacity}
    settled = {line.step: line.memory for line in run.step_lines}
    assert len({memory for step, memory in settled.items() if step > 8}) == 1
    for grid in run.grids:
        assert f"{grid.cells[0][1]:.1f}" == settled[grid.step]
        assert {f"{cell[2]:.1f}" for cell in grid.cells} == {capacity}
        assert all(cell[1] <= cell[2] for cell in grid.cells)


# --- 6: files -------------------------------------------------------------------------------------


def test_files_have_the_bytes_of_what_is_in_them(run: Played) -> None:
    """6. 2 bytes a weight; 12 for its master copy and Adam's moments. Shards add up to the exported size."""
    start, export = run.start, run.of("export")[0]
    parameters = start["params"]
    assert start["checkpoint_bytes"] == (2 + 4 + 4 + 4) * parameters
    assert {event["bytes"] for event in run.of("checkpoint")} <= {start["checkpoint_bytes"]}
    weights = [file["bytes"] for file in export["files"] if file["name"].endswith(".safetensors")]
    assert sum(weights) == export["bytes"] == start["export_bytes"] == 2 * parameters
    printed_sizes = [printed(m[1]) for m in run.matches(r"model[-\w]*\.safetensors \| ([\d.]+ [MG]B)")]
    if len(printed_sizes) == len(weights):  # of very many only the first are shown
        assert sum_of(printed_sizes).agrees(2 * parameters)
    assert printed(run.match(r"Parameters: .* weights ([\d.]+ [MGT]B) in bf16")[1]).agrees(2 * parameters)
    assert printed(run.summary["Size"]).agrees(2 * parameters)


def test_writing_takes_bytes_over_bandwidth(run: Played) -> None:
    """6. Never faster than the file system."""
    limit = run.start["config"]["cluster"]["storage_gbytes_per_s"] * 1e9
    for event in run.of("checkpoint"):
        assert event["bytes"] / event["seconds"] < limit
        assert event["seconds"] < 10 + 3 * event["bytes"] / min(limit, 12e9 * run.start["nodes"])
    for size, seconds, rate in checkpoints(run):
        assert printed(size).agrees(14 * run.start["params"])
        assert (printed(size) / printed(seconds)).agrees(printed(rate) * 1e9)
    assert len(checkpoints(run)) == len(run.of("checkpoint"))


# --- 8: links, energy, trouble --------------------------------------------------------------------


def test_collectives_take_what_the_links_allow(run: Played) -> None:
    """8. seconds = bytes / algbw; busbw = algbw x what the algorithm sends per byte; no link carries too much."""
    gpu, cluster = catalog.gpu(run.start["gpu"]), run.start["config"]["cluster"]
    nic = (cluster["nic_gbps"] or gpu.nic_gbps) * 1e9 / 8
    link = gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s
    for event in run.of("nccl"):
        ranks, nodes = event["ranks"], event["nodes"]
        factor = {"all_reduce": 2, "send_recv": 2}.get(event["collective"], 1) * (ranks - 1) / ranks
        assert event["algbw_bytes_per_s"] == pytest.approx(event["bytes"] / event["seconds"], rel=1e-9)
        assert event["busbw_bytes_per_s"] == pytest.approx(event["algbw_bytes_per_s"] * factor, rel=1e-9)
        if nodes == 1:
            # A switch that adds up moves each byte of an all-reduce once, a ring nearly twice.
            once = event["algbw_bytes_per_s"] if event["collective"] == "all_reduce" else math.inf
            assert min(once, event["busbw_bytes_per_s"]) < link
        elif gpu.nvlink_domain <= cluster["gpus_per_node"]:
            assert event["busbw_bytes_per_s"] * (nodes - 1) / (ranks - 1) < nic
    printed_lines = run.matches(r"NCCL .* \| ([\d.]+ [kMG]B) over .* \| ([\d.]+) ms \| algbw ([\d.]+) GB/s .*")
    for said in printed_lines:
        assert (printed(said[1]) / (printed(said[2]) * 1e-3)).agrees(printed(said[3]) * 1e9)


def test_power_integrates_to_the_energy(run: Played) -> None:
    """8. The power of the grids over the time of the steps is most of it; the rest runs between idle and that."""
    summary, gpu = run.summary_event, catalog.gpu(run.start["gpu"])
    watts = [sum(event["power_w"]) for event in run.stepping_gpus]
    mean = sum(watts) / len(watts)
    stepping = sum(event["step_time_s"] for event in run.of("step"))
    rest = summary["total_time_s"] - stepping
    lowest = 0.99 * mean * stepping + gpu.idle_w * run.start["world_size"] * rest
    highest = 1.01 * mean * stepping + mean * rest
    assert lowest < summary["energy_j"] < highest
    found = re.fullmatch(r"([\d.]+ [kM]?Wh)  \(mean ([\d.]+ [kM]?W)\)", run.summary["Energy"])
    assert found
    energy, power = found.groups()
    seconds = Interval(-0.5, 0.5) + clock(run.summary["Total"])
    assert (printed(power) * seconds / 3600).agrees(printed(energy))


def test_trouble_shows_everywhere(run: Played) -> None:
    """8. In the GPU concerned and in everyone's step time."""
    events, capacity = run.of("step"), catalog.gpu(run.start["gpu"])
    times = [event["step_time_s"] for event in events]
    quiet = sorted(times)[len(times) // 2]
    for warning in run.of("warning"):
        step, rank = warning["step"], warning["rank"]
        grid = min(run.stepping_gpus, key=lambda event: abs(event["step"] - step))
        near = sorted(times[max(0, step - 3) : step + 3])
        assert near[len(near) // 2] > 1.003 * quiet
        if abs(grid["step"] - step) > 3:
            continue  # the look at the GPUs came too late, or too early
        if warning["kind"] == "hot":
            assert grid["temperature_c"][rank] == max(grid["temperature_c"])
            assert grid["temperature_c"][rank] > capacity.slowdown_temperature_c - 8
        elif warning["kind"] == "slow":
            # Those who wait for it are as busy to the eye; its power is the honest signal.
            assert power_falls({event["step"]: event["power_w"] for event in run.of("gpu")}, rank, step)
            assert min(grid["utilization_pct"]) > 85
