"""Identities between the numbers of a run, each computed from metrics.jsonl and again from what is printed: speed
and time.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest

from tests.support.printed_figures import rounded
from tests.support.reading import Interval, Played, as_interval, clock, count, printed

PEAK_FLOPS = {"NVIDIA H100 80GB HBM3": 989e12}
"""Data sheet, dense bf16."""


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
