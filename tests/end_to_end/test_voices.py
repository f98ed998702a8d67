"""Whole runs in the voices of frameworks: in one process, and with a process for each rank."""

from __future__ import annotations

import ast
import json
import os
import re
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from accelerate_sim.config.extensions import VOICES
from tests.support.reading import Train
from tests.support.repository import ROOT
from tests.support.train_ranks import Job
from tests.support.warm_train import WarmTrain

START = "2026-01-31T09:30:00+00:00"
DEBUG = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", START)
ALL = [f"{name}@{version}" for name, entry in VOICES.items() for version in entry.versions or ("",) if name != "house"]
HOUSE = re.compile(r"^\[[^]]*\] \[Rank \d+/\d+\] [A-Z]+ ", re.MULTILINE)


@pytest.mark.parametrize("voice", ALL)
def test_a_run_has_no_line_of_the_house_in_another_voice(train: Train, voice: str) -> None:
    run = train(*DEBUG, "--voice", voice.removesuffix("@"))
    assert run.returncode == 0
    assert bool(run.stdout + run.stderr) == (voice != "deepspeed@0.18"), "which says nothing at its level of logging"
    assert not HOUSE.search(run.stdout + run.stderr)
    assert " · util " not in run.stdout, "GPU grids are the house's"


@pytest.mark.parametrize("voice", ["kv", "megatron", "hf@4"])
def test_each_process_prints_the_lines_of_its_rank(train: Train, voice: str) -> None:
    """All together print what one process prints, and what a rank prints is in that order."""
    shape = ("--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=4", "--set", "parallel.tensor=2")
    alone = train(*DEBUG, *shape, "--voice", voice)
    assert alone.returncode == 0
    with Job([*DEBUG, *shape, "--voice", voice], 8, 4) as job:
        assert job.wait() == [0] * 8
    lines = alone.stdout.splitlines()
    printed = [rank.stdout.splitlines() for rank in job.ranks]
    joined = [line for each in printed for line in each if "event=process" not in line]
    assert sorted(joined) == sorted(lines)
    for each in printed:
        rest = iter(lines)
        assert all(line in rest for line in each if "event=process" not in line)
    assert "".join(rank.stderr for rank in job.ranks) == alone.stderr
    if voice == "megatron":
        assert sum("lm loss:" in line for line in printed[7]) == 5
        assert [bool(each) for each in printed] == [True, True, False, False, False, False, False, True]


@pytest.mark.parametrize("ranks, want", [("main", [0]), ("node", [0, 2]), ("all", [0, 1, 2, 3])])
def test_the_config_names_the_ranks_that_log_steps(train: Train, ranks: str, want: list[int]) -> None:
    said = train(*DEBUG, "--voice", "kv", "--set", f"log.ranks={ranks}")
    own = re.findall(r" rank=(\d) event=rank_step step=20 ", said.stdout)
    assert sorted(map(int, own)) == (want if ranks != "main" else [])
    assert said.stdout.count(" event=step step=20 ") == 1
    lines = train(*DEBUG, "--voice", "megatron", "--set", f"log.ranks={ranks}").stdout
    assert len(re.findall(r"iteration +20/ ", lines)) == len(want)
    house = train(*DEBUG, "--set", f"log.ranks={ranks}").stdout
    assert len(re.findall(r"step 20 on node\d \| own loss", house)) == (len(want) if ranks != "main" else 0)


def test_a_warning_that_a_framework_has_no_words_for_goes_to_standard_error(train: Train) -> None:
    slow = ("--set", "impose.step_time_s=[3000, 3600]", "--set", "train.steps_per_epoch=200", "--max-steps", "150")
    run = train(*DEBUG, *slow, "--voice", "megatron")
    assert not HOUSE.search(run.stdout)
    assert re.search(r"^\[[^]]*\] \[Rank \d/4\] WARNING node\d GPU \d ", run.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("voice", "way_out"),
    [
        ("megatorn", "is no voice. Did you mean 'megatron'? Known: house, "),
        ("megatron@0.16", "is no version of megatron. Did you mean 'megatron@0.19'? Known: megatron@plain, "),
        ("house@2", "names a version, but house has none. Use house."),
    ],
)
def test_an_unknown_voice_is_refused_with_those_that_there_are(train: Train, voice: str, way_out: str) -> None:
    for arguments in (("--voice", voice), ("--set", f"log.voice={voice}")):
        refused = train("--config", "debug", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert voice in refused.stderr
        assert way_out in refused.stderr
        assert "Traceback" not in refused.stderr


def test_the_list_of_voices_has_a_line_for_each_version_and_option(train: Train) -> None:
    text = train("--list", "voices").stdout
    for name, entry in VOICES.items():
        assert re.search(rf"^{name} +\S", text, re.MULTILINE)
        for version in entry.versions:
            assert re.search(rf"^{name}@{re.escape(version)} +\S.*", text, re.MULTILINE)
        for option in entry.options:
            assert f"--set log.voice_options.{option}=" in text


def test_options_after_the_voice_change_its_lines(train: Train) -> None:
    run = train(*DEBUG, "--voice", "megatron@0.15", "--set", "log.voice_options.log_throughput=false")
    assert "throughput per GPU" not in run.stdout
    assert "log_throughput .................................. False" in run.stdout


# --- Single voices --------------------------------------------------------------------------------


def read_dictionaries(text: str) -> list[dict[str, float]]:
    """The dictionaries that the Trainer prints, with numbers for their values."""
    found = (ast.literal_eval(line) for line in text.splitlines() if line.startswith("{"))
    return [{key: float(value) for key, value in each.items()} for each in found]


@pytest.mark.parametrize("version", ["4", "5"])
def test_the_trainers_loss_is_the_mean_since_the_last_log(train: Train, tmp_path: Path, version: str) -> None:
    run = train(*DEBUG, "--voice", f"hf@{version}", "--output-dir", str(tmp_path / "out"))
    events = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    entries = read_dictionaries(run.stdout)
    digits = {"4": 4, "5": 3}[version]
    logged = [entry["loss"] for entry in entries if "loss" in entry]
    assert logged == [pytest.approx(fmean(losses[at : at + 5]), abs=0.51 * 10**-digits) for at in (0, 5, 10, 15)]
    evaluated = [event["loss"] for event in events if event["event"] == "eval"]
    assert [entry["eval_loss"] for entry in entries if "eval_loss" in entry] == pytest.approx(evaluated, abs=6e-4)
    last = entries[-1]
    assert last["train_loss"] == pytest.approx(fmean(losses), abs=6e-4)
    assert last["train_steps_per_second"] == pytest.approx(20 / last["train_runtime"], rel=1e-3)
    assert ("'loss': '" in run.stdout) == (version == "5")


def test_the_trainers_bar_is_on_standard_error_as_tqdm_writes_it(train: Train) -> None:
    run = train(*DEBUG, "--voice", "hf@4")
    frames = run.stderr.split("\r")
    assert frames[1] == "  0%|          | 0/20 [00:00<?, ?it/s]"
    assert re.fullmatch(r"100%\|█{10}\| 20/20 \[00:0\d<00:00, +[\d.]+it/s\]\n", frames[-1])
    assert run.stderr.count("\n") == 1
    assert "\r" not in run.stdout
    assert train(*DEBUG, "--voice", "hf@4", "--no-progress").stderr == ""


def test_with_both_streams_in_one_pipe_the_bar_is_wiped_out_before_each_dictionary() -> None:
    with WarmTrain([*DEBUG, "--voice", "hf@4"], os.environ, ROOT, merged=True) as run:
        assert run.wait() == 0
        text = run.stdout
    assert len(re.findall(r"\r +\r\{'", text)) == 7
    assert not re.search(r"[^\r]\{'", text)


def test_the_trainer_logs_its_banner_at_level_info(train: Train) -> None:
    info = ("--set", "log.voice_options.log_level=info")
    old, new = (train(*DEBUG, *info, "--no-progress", "--voice", voice).stderr for voice in ("hf@4", "hf@5"))
    banner = r"^\[INFO\|trainer.py:\d+\] 2026-01-31 09:30:\d\d,\d{3} >> \*{5} Running training \*{5}$"
    assert re.search(banner, old, re.M)
    assert "\n[transformers]   Num update steps per epoch = 10\n" in new
    assert "Num update steps" not in old


def test_torchtitan_prints_its_first_step_and_rates_of_the_time_between_lines(train: Train) -> None:
    plain = ("--set", "log.voice_options.disable_color_printing=true")
    run = train(*DEBUG, *plain, "--voice", "torchtitan@0.2.2")
    pattern = (
        r"\[titan\] (\S+ \S+) - root - INFO - step: ([ \d]\d)  loss: +\d+\.\d{5}  grad_norm: +\d+\.\d{4}  "
        r"memory: +[\d.]+GiB\([\d.]+%\)  tps: ([\d,]+)  tflops: [\d,]+\.\d\d  mfu: [\d.]+%"
    )
    steps = [match for line in run.stdout.splitlines() if (match := re.fullmatch(pattern, line))]
    assert [int(match[2]) for match in steps] == [1, 5, 10, 15, 20]
    times = [datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f") for match in steps]
    between_s = (times[2] - times[1]).total_seconds()
    assert int(steps[2][3].replace(",", "")) == pytest.approx(5 * 65536 / 4 / between_s, rel=0.01)
    old = train(*DEBUG, "--voice", "torchtitan@0.1")
    assert old.stdout == ""
    assert "\x1b[31mstep:  1  \x1b[32mloss: 11.0123  \x1b[33mmemory:" in old.stderr


def test_nanogpt_counts_from_0_and_knows_no_mfu_at_first(train: Train) -> None:
    text = train(*DEBUG, "--voice", "nanogpt").stdout
    found = re.findall(r"^iter (\d+): loss \d+\.\d{4}, time [\d.]+ms, mfu (-?[\d.]+)%$", text, re.M)
    assert [int(step) for step, _ in found] == [0, 5, 10, 15]
    assert found[0][1] == "-100.00"
    assert 20 < float(found[1][1]) < 30


def test_deepspeed_is_silent_by_default_since_0_17_6(train: Train) -> None:
    info = ("--set", "log.voice_options.log_level=info")
    assert train(*DEBUG, "--voice", "deepspeed@0.18").stdout == ""
    for arguments in (("--voice", "deepspeed@0.16"), (*info, "--voice", "deepspeed@0.18")):
        text = train(*DEBUG, *arguments).stdout
        steps = re.findall(r"\[INFO\] \[logging\.py:\d+:log_dist\] \[Rank 0\] step=(\d+), skipped=0, lr=\[", text)
        assert steps == ["5", "10", "15", "20"]
        rates = [float(rate) for rate in re.findall(r"RunningAvgSamplesPerSec=([\d.]+), Curr", text)]
        assert rates == [pytest.approx(1133, abs=5)] * 4


def test_mlperfs_log_ends_when_the_target_is_reached(train: Train) -> None:
    loss = ("--set", "impose.first_loss=[4.0, 4.0]", "--set", "impose.last_loss=[0.8, 0.8]")
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in mllog(train, "llama2_70b_lora", *loss)]
    keys = [entry["key"] for entry in entries]
    assert keys[:2] == ["cache_clear", "init_start"]
    assert keys[-2:] == ["eval_stop", "run_stop"]
    assert entries[-1]["metadata"]["status"] == "success"
    assert entries[-3]["key"] == "eval_accuracy"
    assert 0 < entries[-3]["value"] <= 0.925
    assert [entry["time_ms"] for entry in entries] == sorted(entry["time_ms"] for entry in entries)
    assert list(entries[0]) == ["namespace", "time_ms", "event_type", "key", "value", "metadata"]
    missed = [json.loads(line.removeprefix(":::MLLOG ")) for line in mllog(train, "llama2_70b_lora")]
    assert missed[-1]["metadata"]["status"] == "aborted"


def mllog(train: Train, benchmark: str, *arguments: str) -> list[str]:
    run = train(*DEBUG, "--voice", f"mlperf@{benchmark}", *arguments)
    assert all(line.startswith(":::MLLOG {") for line in run.stdout.splitlines())
    return run.stdout.splitlines()


# --- Readers, as rules ----------------------------------------------------------------------------

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
        begin = int(end)
