"""The timers inside a step add up to the step, and differ between ranks as the run's ranks do."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.records import StepRecord
from accelerate_sim.reporting.build import run_facts
from accelerate_sim.sim.run import Run
from accelerate_sim.voices.megatron_timers import LEVEL_1, LEVEL_2, OUTSIDE_S, PhaseTimers
from accelerate_sim.voices.voice import Line, speaker_of

NOW = datetime(2026, 1, 31, 9, 30)
LAYOUTS: dict[str, dict[str, Any]] = {
    "replicas": {"tensor": 1, "sharding": "ddp"},
    "sharded": {"tensor": 2, "sharding": "zero1"},
    "pipeline": {"tensor": 2, "pipeline": 4, "sharding": "zero1"},
    "interleaved": {"tensor": 2, "pipeline": 4, "virtual_stages": 2, "sharding": "zero1"},
}
STEP = partial(
    StepRecord, run=1, epoch=1, loss=2.5, perplexity=12.2, grad_norm=1.0, lr=1e-4, global_batch=64, tokens_per_s=1e5,
    mfu=0.4, memory_used_bytes=2**30, elapsed_s=1.0, time=NOW,
)  # fmt: skip


def run_of(layout: str, **log: Any) -> Run:
    changes = {
        "model": "gpt2-xl", "cluster": {"nodes": 2, "gpus_per_node": 8}, "parallel": LAYOUTS[layout],
        "train": {"global_batch": 64, "sequence_length": 1024}, "log": {"every": 5} | log,
    }  # fmt: skip
    return Run(RunConfig.model_validate(changes))


def steps(run: Run, count: int) -> list[StepRecord]:
    return [
        STEP(step=step, step_time_s=run.timing(step - 1).seconds, tokens=step * 65536) for step in range(1, count + 1)
    ]


def summed(run: Run, count: int = 5) -> tuple[dict[str, Any], float]:
    timers, records = PhaseTimers(run, 2), steps(run, count)
    for record in records:
        timers.add(record)
    return timers.sums, sum(record.step_time_s for record in records)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_passes_and_the_optimizer_are_the_step(layout: str) -> None:
    sums, whole = summed(run_of(layout))
    outside = whole - sums["forward-backward"] - sums["optimizer"]
    assert np.all(outside >= 0.0) and np.all(outside <= 5 * OUTSIDE_S + 0.002 * whole)
    parts = sum(seconds for name, seconds in sums.items() if name.startswith("optimizer-"))
    assert np.all(parts <= sums["optimizer"]) and np.all(parts >= 0.9 * sums["optimizer"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_inside_the_passes_takes_no_longer_than_they_do(layout: str) -> None:
    sums, _ = summed(run_of(layout))
    inside = sum(sums[name] for name in (*LEVEL_2[1:], "all-grads-sync") if name in sums)
    assert np.all(inside <= sums["forward-backward"])
    assert np.all(inside >= 0.6 * sums["forward-backward"])
    assert np.all(sums["batch-generator"] < sums["forward-compute"])
    assert np.all(sums["forward-compute"] < sums["backward-compute"])


def test_stages_wait_where_a_pipeline_has_them_wait() -> None:
    run = run_of("pipeline")
    sums, _ = summed(run)
    stage = run.layout.stage(np.arange(16))
    waiting = {name: {int(each) for each in stage[sums[name] > 0.0]} for name in LEVEL_2[3:] if name in sums}
    assert waiting == {
        "forward-recv": {1, 2, 3}, "forward-send": {0, 1, 2}, "backward-recv": {0, 1, 2}, "backward-send": {1, 2, 3},
        "forward-send-backward-recv": {0, 1, 2}, "backward-send-forward-recv": {1, 2, 3},
    }  # fmt: skip
    assert "forward-send-forward-recv" in summed(run_of("interleaved"))[0]


@pytest.mark.parametrize("voice", ["megatron@0.15", "megatron@0.19", "bridge"])
@pytest.mark.parametrize("level, names", [(0, ()), (1, LEVEL_1), (2, LEVEL_1 + LEVEL_2)])
def test_a_level_chooses_the_timers_that_follow_an_iteration(voice: str, level: int, names: tuple[str, ...]) -> None:
    run = run_of("pipeline", voice=voice, voice_options={"timing_log_level": level})
    text = printed(run, 10)
    found = re.findall(r"^    ([a-z-]+) \.+: \((\d+\.\d\d), (\d+\.\d\d)\)$", text, re.M)
    assert {name for name, *_ in found} <= {*names} and bool(found) == bool(level)
    assert all(float(least) <= float(most) for _, least, most in found)
    if level:
        means = [float(each) for each in re.findall(r"elapsed time per iteration \(ms\): (\S+) ", text)]
        passes = [float(most) for name, _, most in found if name == "forward-backward"]
        assert passes[-1] == pytest.approx(means[-1], rel=0.05)
        assert len(passes) == len(means)


def test_a_version_that_logs_iteration_1_divides_its_timers_by_the_interval() -> None:
    run = run_of("replicas", voice="megatron@0.19", voice_options={"timing_log_level": 1})
    first = float(re.findall(r"forward-backward \.+: \((\S+),", printed(run, 1))[0])
    assert first == pytest.approx(run.timing(0).seconds * 1000.0 / 5, rel=0.1)


@pytest.mark.parametrize(
    "option, heading, row",
    [
        ("minmax", "(min, max) time across ranks (ms):", r"    optimizer \.+: \(\d+\.\d\d, \d+\.\d\d\)"),
        ("max", "max time across ranks (ms):", r"    optimizer \.+: \d+\.\d\d"),
        ("all", "times across ranks (ms):", r"  optimizer:\n     rank  0: \d+\.\d\d\n     rank  1: "),
    ],
)
def test_an_option_chooses_the_ranks_whose_times_are_logged(option: str, heading: str, row: str) -> None:
    options = {"timing_log_level": 1, "timing_log_option": option}
    text = printed(run_of("sharded", voice="megatron@0.15", voice_options=options), 5)
    assert f"\n{heading}\n" in text and re.search(rf"(?m)^{row}", text)
    assert text.count("     rank ") == (16 * len(re.findall(r"(?m)^  [a-z-]+:$", text)))


def printed(run: Run, count: int) -> str:
    speaker = speaker_of(run, run_facts(run), lambda: NOW)
    lines = [
        item
        for record in steps(run, count)
        for item in speaker.voice.lines[StepRecord](record, speaker.state)
        if isinstance(item, Line)
    ]
    assert {line.rank for line in lines if "across ranks" in line.text} <= {15}
    return "".join(line.text + "\n" for line in lines)
