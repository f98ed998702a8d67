"""The rules by which collectors and public scripts read logs find in a voice what they find in a real log."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.support.reading import Train

START = "2026-01-31T09:30:00+00:00"
DEBUG = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", START)


METRIC = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(?:\.\d+)?(?:[Ee][+-]?\d+)?)")
"""Katib's default filter of text: name and value of a metric."""
RFC3339 = "%Y-%m-%dT%H:%M:%S.%fZ"


def test_katibs_rules_find_losses_and_times_in_the_kv_voice(train: Train, tmp_path: Path) -> None:
    run = train(*DEBUG, "--voice", "kv", "--output-dir", str(tmp_path / "out"))
    losses = {event["step"]: event["loss"] for event in events_of(tmp_path / "out") if event["event"] == "step"}
    found = []
    for line in run.stdout.splitlines():
        time = datetime.strptime(line.split()[0], RFC3339)
        values = dict(METRIC.findall(line))
        if "loss" in values:
            found.append((time, int(values["step"]), float(values["loss"])))
            assert float(values["lr"]) > 0
    assert [loss for _, _, loss in found] == [losses[step] for step in (5, 10, 15, 20)]
    assert [step for _, step, _ in found] == [5, 10, 15, 20]
    assert found == sorted(found)


def test_katibs_rules_find_losses_and_times_in_the_metrics_file(train: Train, tmp_path: Path) -> None:
    """Values have to be strings and a time to be in RFC 3339."""
    as_is, strings = tmp_path / "numbers", tmp_path / "strings"
    assert train(*DEBUG, "--output-dir", str(as_is)).returncode == 0
    assert train(*DEBUG, "--output-dir", str(strings), "--set", "log.json_values=strings").returncode == 0
    pairs = [(one, other) for one, other in zip(events_of(as_is), events_of(strings), strict=True) if "loss" in one]
    assert len(pairs) == 22
    for one, other in pairs:
        assert float(other["loss"]) == one["loss"]
        assert isinstance(other["loss"], str)
        assert one["timestamp"] == other["timestamp"]
        assert datetime.strptime(one["timestamp"], RFC3339)


def events_of(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


SAGEMAKER = {"loss": re.compile(r"'loss': ([0-9]+(.|e\-)[0-9]+),?")}
"""A metric definition that many notebooks share."""


@pytest.mark.parametrize("version, count", [("4", 4), ("5", 0)])
def test_common_metric_definitions_find_the_losses_of_transformers_4_alone(
    train: Train, version: str, count: int
) -> None:
    text = train(*DEBUG, "--voice", f"hf@{version}").stdout
    assert len(SAGEMAKER["loss"].findall(text)) == count


NUMBER = r"[+-]?[\d.]+(?:[eE][+-]\d+)?"
MEGATRON_READERS = {
    "a time of 19 characters in brackets in front": (re.compile(r" \[\S+ \d\d:\d\d:\d\d\] iteration "), {"0.15"}),
    "iteration at the beginning of the line": (re.compile(r" ?iteration +\d"), {"plain"}),
    "time, learning rate and loss anywhere": (
        re.compile(rf" \[[^]]+\] iteration +\d+/ *\d+ .*learning rate: {NUMBER} .*lm loss: {NUMBER} "),
        {"0.15", "0.19"},
    ),
    "blanks around both counts": (re.compile(r".*iteration\s+\d+/\s+\d+ "), {"plain", "0.15", "0.19"}),
    "the throughput": (
        re.compile(rf".*per iteration \(ms\): {NUMBER} \| throughput per GPU \(TFLOP/s/GPU\): {NUMBER} \|"),
        {"plain", "0.15", "0.19"},
    ),
}  # fmt: skip
"""Rules by which public scripts read iteration lines, and the versions whose lines they match."""


@pytest.mark.parametrize("reader", MEGATRON_READERS)
@pytest.mark.parametrize("version", ["plain", "0.15", "0.19"])
def test_a_script_reads_the_versions_of_megatron_that_it_was_written_for(
    train: Train, reader: str, version: str
) -> None:
    text = train(*DEBUG, "--voice", f"megatron@{version}").stdout
    lines = [line for line in text.splitlines() if "consumed samples" in line]
    assert len(lines) == (5 if version == "0.19" else 4)
    pattern, versions = MEGATRON_READERS[reader]
    assert {bool(pattern.match(line)) for line in lines} == {version in versions}


@pytest.mark.parametrize("version, steps", [("plain", [5]), ("0.15", [5]), ("0.19", [1, 5])])
def test_megatron_reports_memory_after_the_first_line_and_in_0_19_again_with_the_optimizer(
    train: Train, version: str, steps: list[int]
) -> None:
    text = train(*DEBUG, "--voice", f"megatron@{version}").stdout
    reports = re.findall(r"^\[Rank 0\] \(after (\d+) iterations\) memory \(MB\) \| allocated: ", text, re.M)
    assert [int(step) for step in reports] == steps
    assert text.count("\nTheoretical memory footprints: ") == len(steps)


@pytest.mark.parametrize("version, form", [("0.15", r"\d\d "), ("0.19", r"\d\d\.\d{6} ")])
def test_megatrons_moments_of_the_set_up_have_the_precision_of_the_version(
    train: Train, version: str, form: str
) -> None:
    text = train(*DEBUG, "--voice", f"megatron@{version}").stdout
    moments = re.findall(r"^\[(?:after megatron|after dataloaders|before the start)[^]]+\] datetime: (.+)$", text, re.M)
    assert len(moments) == 3
    assert all(re.fullmatch(rf"2026-01-31 09:30:{form}", moment) for moment in moments)


def test_megatrons_means_are_of_the_iterations_since_the_last_line(train: Train, tmp_path: Path) -> None:
    run = train(*DEBUG, "--voice", "megatron@0.19", "--output-dir", str(tmp_path / "out"))
    steps = [event for event in events_of(tmp_path / "out") if event["event"] == "step"]
    figures = rf"per iteration \(ms\): ({NUMBER}) .*lm loss: ({NUMBER}) .*grad norm: ({NUMBER}) "
    found = re.findall(rf"iteration +(\d+)/ .*{figures}", run.stdout)
    begin = 0
    assert [int(end) for end, *_ in found] == [1, 5, 10, 15, 20]
    for end, milliseconds, loss, norm in found:
        window = steps[begin : int(end)]
        assert float(milliseconds) == pytest.approx(fmean(step["step_time_s"] for step in window) * 1000, abs=0.06)
        assert float(loss) == pytest.approx(fmean(step["loss"] for step in window), rel=1e-6)
        assert float(norm) == pytest.approx(window[-1]["grad_norm"], abs=6e-4)
        begin = int(end) if int(end) % 5 == 0 else 0  # the additional line for iteration 1 leaves the sums as they are


SINCE_THE_LAST_LINE = {
    "megatron": r"lm loss: (\S+) \|", "hf@4": r"'loss': ([\d.]+)", "axolotl@5": r"'loss': '([\d.]+)'",
    "nemo": r"reduced_train_loss: (\S+) ", "deepspeed@0.16": r"(micro_step=\d+)/",
}  # fmt: skip


@pytest.mark.parametrize("voice", SINCE_THE_LAST_LINE)
def test_a_process_that_goes_on_after_a_failure_counts_anew(train: Train, voice: str) -> None:
    """The checkpoint is of a step that is logged, so its means are those of a run without the failure."""
    arguments = (*DEBUG, "--voice", voice, "--no-progress")
    clean = re.findall(SINCE_THE_LAST_LINE[voice], train(*arguments).stdout)
    again = re.findall(SINCE_THE_LAST_LINE[voice], train(*arguments, "--fault", "kill rank=3 at=step:14").stdout)
    kept = 2 if voice == "deepspeed@0.16" else -2  # counts of the new process are those of the first two lines
    assert again[-2:] == (clean[:kept] if kept > 0 else clean[kept:])
