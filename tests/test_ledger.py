"""The identities that hold between the numbers of a run, for a reader with the files in one hand and a calculator in
the other: each is computed from metrics.jsonl and again from what is printed, at printed precision.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta

import pytest
from reading import Interval, Played, as_interval, clock, count, printed

from accelerate_sim import catalog

RUNS = ("llama", "small", "experts", "drawn")
CHATTY = ("small", "experts", "drawn")
"""Runs with a detail line for every step."""
PEAK_FLOPS = {"NVIDIA H100 80GB HBM3": 989e12}
"""Data sheet, dense bf16."""


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Played:
    """Dense, tiny, mixture of experts, and drawn at random."""
    played: Played = request.getfixturevalue(request.param)
    return played


@pytest.fixture(params=CHATTY)
def chatty(request: pytest.FixtureRequest) -> Played:
    """A run that says every step's figures."""
    played: Played = request.getfixturevalue(request.param)
    return played


def rounded(value: float, digits: int) -> Interval:
    """What a value that was rounded to so many decimals can have been."""
    return Interval(value - 0.5 * 10.0**-digits, value + 0.5 * 10.0**-digits)


def sum_of(intervals: list[Interval]) -> Interval:
    return Interval(sum(each.low for each in intervals), sum(each.high for each in intervals))


def validations(run: Played) -> list[tuple[str, str, str]]:
    """(loss, perplexity, seconds) as printed."""
    found = run.matches(r"Validation \| loss (\d+\.\d{4}) \| ppl ([\d.,]+) \| ([\d.]+) s \| .*")
    return [(each[1], each[2], each[3]) for each in found]


def checkpoints(run: Played) -> list[tuple[str, str, str]]:
    """(bytes, seconds, bytes/s) as printed."""
    found = run.matches(r"Checkpoint saved: \S+ \| ([\d.]+ [MGT]B) \| ([\d.]+) s \| ([\d.]+) GB/s")
    return [(each[1], each[2], each[3]) for each in found]


# --- 1: perplexity and averages -------------------------------------------------------------------


def test_perplexity_is_exp_of_loss(run: Played) -> None:
    """1. In training and in validation."""
    for event in (*run.of("step"), *run.of("eval")):
        assert rounded(event["loss"], 6).exp().agrees(rounded(event["perplexity"], 4))
    pairs = [(line.loss, line.ppl) for line in run.step_lines]
    pairs += [(shown.loss, shown.ppl) for shown in run.bars]
    pairs += [(loss, perplexity) for loss, perplexity, _ in validations(run)]
    pairs += [(run.summary[f"{which} loss"].split()[0], run.summary[f"{which} perplexity"].split()[0])
              for which in ("Final", "Best")]  # fmt: skip
    assert len(pairs) > 20
    for loss, perplexity in pairs:
        assert printed(loss).exp().agrees(printed(perplexity))


def averages(run: Played) -> list[tuple[str, int]]:
    """(average loss as printed, steps) of each epoch."""
    found = run.matches(r"Epoch \d+/\d+ \| average loss (\d+\.\d{4}) over ([\d,]+) steps")
    return [(said[1], count(said[2])) for said in found]


def test_epoch_average_is_the_mean_of_its_losses(run: Played) -> None:
    """1. From the metrics file."""
    epochs = sorted({event["epoch"] for event in run.of("step")})
    assert len(averages(run)) == len(epochs)
    for epoch, (average, steps) in zip(epochs, averages(run), strict=True):
        losses = [event["loss"] for event in run.of("step") if event["epoch"] == epoch]
        assert len(losses) == steps
        assert printed(average).agrees(rounded(sum(losses) / len(losses), 6))


def test_epoch_average_is_the_mean_of_the_printed_losses(chatty: Played) -> None:
    """1. From the text."""
    done = 0
    for average, steps in averages(chatty):
        losses = [printed(line.loss) for line in chatty.step_lines[done : done + steps]]
        assert printed(average).agrees(sum_of(losses) / len(losses))
        done += steps
    assert done == len(chatty.step_lines)


# --- 2: throughput and MFU ------------------------------------------------------------------------


def test_throughput_times_step_time_is_the_batch(run: Played) -> None:
    """2. In sequences, in tokens and in sum."""
    start = run.start
    tokens = start["global_batch"] * start["sequence_length"]
    for number, event in enumerate(run.of("step"), 1):
        assert (rounded(event["tokens_per_s"], 4) * event["step_time_s"]).agrees(tokens)
        assert event["tokens"] == number * tokens
    said = run.match(r"Batch: global ([\d,]+) .*sequence length ([\d,]+) \| ([\d,]+) tokens a step")
    assert count(said[1]) * count(said[2]) == count(said[3]) == tokens


def matmul_parameters(run: Played) -> int:
    """Parameters in matrix products that a token meets, from the printed architecture."""
    shape = run.architecture()
    layers, hidden, ffn = shape["layers"], shape["hidden"], shape["ffn"]
    attention = 2 * hidden * (hidden // shape["heads"]) * (shape["heads"] + shape["kv heads"])
    mlp = 2 * hidden * ffn if "GPT2" in run.said("Loading model").message else 3 * hidden * ffn
    if "experts" in shape:
        mlp = mlp * shape["active"] + hidden * shape["experts"]
    return layers * (attention + mlp) + shape["vocab"] * hidden


@pytest.mark.parametrize("name", ["llama", "small", "experts"])
def test_mfu_follows_from_what_is_printed(name: str, request: pytest.FixtureRequest) -> None:
    """2. 6 FLOPs a matrix parameter and 12 L h s for attention (PaLM), over the data sheet's peak."""
    run: Played = request.getfixturevalue(name)
    shape, length = run.architecture(), run.start["sequence_length"]
    flops = 6 * matmul_parameters(run) + 12 * shape["layers"] * shape["hidden"] * length
    gpus, product = run.match(r"Detected ([\d,]+) x (.*)").groups()
    peak = count(gpus) * PEAK_FLOPS[product]
    assert run.start["flops_per_token"] == flops
    for line in run.step_lines:
        assert (printed(line.rate) * (100 * flops / peak)).agrees(printed(line.mfu.rstrip("%")))
    per_s = printed(run.summary["Throughput"].split()[0])
    assert (per_s * (100 * flops / peak)).agrees(printed(run.summary["MFU"].rstrip("%")))


def test_mfu_is_tokens_times_flops_over_the_peak(run: Played) -> None:
    """2. From the metrics file."""
    start = run.start
    per_token = start["flops_per_token"] / (start["world_size"] * start["peak_flops_per_gpu"])
    for event in run.of("step"):
        assert (rounded(event["tokens_per_s"], 4) * per_token).agrees(rounded(event["mfu"], 8))
        assert 0 < event["mfu"] < 0.9


# --- 3: time --------------------------------------------------------------------------------------


def test_phases_sum_to_elapsed_time(run: Played) -> None:
    """3. Steps, checkpoints and validations fill the time; timestamps are start-up and elapsed time after the start."""
    pauses: dict[int, float] = {}
    for event in (*run.of("checkpoint"), *run.of("eval")):
        pauses[event["step"]] = pauses.get(event["step"], 0.0) + event["seconds"]
    start = datetime.fromisoformat(run.start["start_time"]) + timedelta(seconds=run.start["startup_s"])
    passed = 0.0
    for event in run.of("step"):
        passed += event["step_time_s"]
        assert event["elapsed_s"] == pytest.approx(passed, abs=1e-5)
        stamp = datetime.fromisoformat(event["time"]) - start
        assert stamp.total_seconds() == pytest.approx(passed, abs=1.1e-3)
        passed += pauses.get(event["step"], 0.0)
    summary = run.summary_event
    assert summary["train_time_s"] == pytest.approx(passed, abs=1e-5)
    total = run.start["startup_s"] + passed + run.of("export")[0]["seconds"]
    assert summary["total_time_s"] == pytest.approx(total, abs=2e-3)


def test_timestamps_are_as_far_apart_as_the_steps_take(chatty: Played) -> None:
    """3. From the text alone: tokens over tokens/s is a step's time; they add up between any two lines."""
    tokens = count(chatty.match(r"Batch: .* \| ([\d,]+) tokens a step")[1])
    by_place = {(step.time, f"step {step.step}"): step for step in chatty.step_lines}
    origin, passed = chatty.step_lines[0].time, Interval(0.0, 0.0)
    for line in chatty.log:
        if step := by_place.get((line.time, line.fields()[0])):
            if step.step > 1:
                passed = passed + as_interval(tokens) / printed(step.rate)
        elif pause := re.match(r"(?:Checkpoint saved: |Validation \| ).*\| ([\d.]+) s \|", line.message):
            passed = passed + printed(pause[1])
        else:
            continue
        shown = (line.time - origin).total_seconds()
        assert (passed + Interval(-1.0, 1.0)).agrees(shown)


def test_eta_is_what_is_left_at_the_present_rate(run: Played) -> None:
    """3. On every bar that is printed; and the percentage is the share of the steps that are done."""
    assert run.bars
    for shown in run.bars:
        left = shown.total - shown.done
        assert abs(clock(shown.eta) - left * shown.step_s) <= 1 + left * 0.005
        assert shown.percent == pytest.approx(100 * shown.done / shown.total, abs=0.5001)


def test_log_begins_and_ends_when_the_summary_says(run: Played) -> None:
    """3."""
    passed = (run.log[-1].time - run.log[0].time).total_seconds()
    assert abs(clock(run.summary["Total"]) - passed) <= 1
    assert clock(run.summary["Training"].split("  ")[0]) == round(run.summary_event["train_time_s"])
    share = printed(run.summary["Training"].split("(")[1].rstrip("%)"))
    assert share.agrees(100 * run.summary_event["train_time_s"] / run.summary_event["total_time_s"])


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


# --- 7: learning rate and gradient norm -----------------------------------------------------------


def scheduled(run: Played, step: int) -> float:
    """The learning rate of a step, counted from 1: warm-up to the peak, then down to the lowest at the last step."""
    train = run.start["config"]["train"]
    peak, lowest, warmup = train["lr"], train["min_lr"], train["warmup_steps"]
    if step <= warmup:
        return float(peak * step / warmup)
    done = (step - warmup) / (train["epochs"] * train["steps_per_epoch"] - warmup)
    shape = {
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "linear": 1 - done,
        "wsd": min(1.0, (1 - done) / 0.2),
    }[train["schedule"]]
    return float(lowest + (peak - lowest) * shape)


def test_learning_rate_is_the_schedules(run: Played) -> None:
    """7."""
    for event in run.of("step"):
        assert event["lr"] == pytest.approx(scheduled(run, event["step"]), rel=1e-9)
    for line in run.step_lines:
        assert re.fullmatch(r"\d\.\d\de-\d\d", line.lr)
        assert printed(line.lr).agrees(scheduled(run, line.step))


def test_gradient_norm_is_told_before_clipping(run: Played) -> None:
    """7. Far above the limit at first, so the norm after clipping is the limit; never zero, never wild."""
    limit = run.start["config"]["train"]["max_grad_norm"]
    norms = [event["grad_norm"] for event in run.of("step")]
    assert norms[0] > 3 * limit
    assert all(0.05 < norm < 60 for norm in norms)
    assert sum(norm > limit for norm in norms[len(norms) // 2 :]) <= len(norms) // 4 or len(norms) < 100
    for line in run.step_lines:
        assert printed(line.grad_norm).agrees(norms[line.step - 1])


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
    energy, power = re.fullmatch(r"([\d.]+ [kM]?Wh)  \(mean ([\d.]+ [kM]?W)\)", run.summary["Energy"]).groups()  # type: ignore[union-attr]
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
            assert grid["power_w"][rank] < 0.98 * sorted(grid["power_w"])[len(grid["power_w"]) // 2]
            assert min(grid["utilization_pct"]) > 85


# --- 9: the summary -------------------------------------------------------------------------------


def test_summary_repeats_the_runs_own_numbers(run: Played) -> None:
    """9. In the metrics file."""
    summary, steps, evals = run.summary_event, run.of("step"), run.of("eval")
    last, best = steps[-1], min(evals, key=lambda event: event["loss"])
    seconds = sum(event["step_time_s"] for event in steps)
    assert (summary["steps"], summary["epochs"], summary["tokens"]) == (last["step"], last["epoch"], last["tokens"])
    assert (summary["final_loss"], summary["final_perplexity"]) == (last["loss"], last["perplexity"])
    assert (summary["best_loss"], summary["best_perplexity"]) == (best["loss"], best["perplexity"])
    assert summary["mean_tokens_per_s"] == pytest.approx(last["tokens"] / seconds, abs=1e-2)
    per_token = run.start["flops_per_token"] / (run.start["world_size"] * run.start["peak_flops_per_gpu"])
    assert summary["mean_mfu"] == pytest.approx(summary["mean_tokens_per_s"] * per_token, abs=1e-6)
    utilization = [sum(event["utilization_pct"]) / len(event["utilization_pct"]) for event in run.stepping_gpus]
    assert summary["mean_gpu_utilization_pct"] == pytest.approx(sum(utilization) / len(utilization), abs=0.006)
    peak = max(max(event["memory_used_bytes"]) for event in run.of("gpu"))
    assert summary["peak_memory_bytes"] == max(peak, *(event["memory_used_bytes"] for event in steps))
    assert summary["export_bytes"] == run.of("export")[0]["bytes"]
    assert summary["export_path"] == run.of("export")[0]["path"]


def test_printed_summary_repeats_what_was_printed(chatty: Played) -> None:
    """9. On the screen."""
    table, last = chatty.summary, chatty.step_lines[-1]
    assert (table["Final loss"], count(table["Steps"])) == (last.loss, last.step)
    best = min(validations(chatty), key=lambda said: float(said[0]))
    assert (table["Best loss"].split()[0], table["Best perplexity"].split()[0]) == best[:2]
    tokens = count(chatty.match(r"Batch: .* \| ([\d,]+) tokens a step")[1])
    assert count(table["Tokens"].split("(")[1].rstrip(")")) == last.step * tokens
    stepping = sum_of([as_interval(tokens) / printed(line.rate) for line in chatty.step_lines])
    assert (as_interval(last.step * tokens) / stepping).agrees(printed(table["Throughput"].split()[0]))
    most = max(cell[1] for grid in chatty.grids for cell in grid.cells)
    assert table["Peak memory"] == f"{most:.1f} GiB"
