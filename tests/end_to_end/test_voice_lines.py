"""Lines of single voices: their figures are the run's, in the framework's format, cadence and stream."""

from __future__ import annotations

import ast
import json
import os
import re
from datetime import datetime
from pathlib import Path
from statistics import fmean

import pytest

from tests.support.reading import Train
from tests.support.repository import ROOT
from tests.support.train_ranks import Job
from tests.support.warm_train import WarmTrain

START = "2026-01-31T09:30:00+00:00"
DEBUG = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", START)


def tokens_per_s(train: Train) -> float:
    """The rate of the same run in the house's lines, without its checkpoints."""
    lines = train(*DEBUG).stdout.splitlines()
    return fmean(float(rate[1].replace(",", "")) for line in lines if (rate := re.search(r"tokens/s ([\d,]+)", line)))


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


@pytest.mark.parametrize("voice", ["hf@4", "hf@5", "llamafactory@4", "axolotl@5"])
def test_the_trainer_counts_a_part_of_the_sum_for_a_loss_that_is_no_number(
    train: Train, tmp_path: Path, voice: str
) -> None:
    fault = ("--fault", "nan at=step:8", "--fault", "nan at=step:11")
    run = train(*DEBUG, "--voice", voice, *fault, "--output-dir", str(tmp_path / "out"))
    assert run.returncode == 0, run.stderr
    events = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert [step for step, loss in enumerate(losses, 1) if loss is None] == [8, 11]
    counted = [*losses[:7], sum(losses[5:7]) / 3, *losses[8:10], 0.0, *losses[11:]]
    means = [fmean(counted[at : at + 5]) for at in (0, 5, 10, 15)]
    printed = re.findall(r"\{'loss': '?([\d.]+)", run.stdout)
    assert [float(loss) for loss in printed] == pytest.approx(means, abs=6e-3)
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert [entry["loss"] for entry in state["log_history"] if "loss" in entry] == pytest.approx(means, abs=6e-5)
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert results["train_loss"] == pytest.approx(fmean(counted))


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
    without_checkpoint = int(steps[3][3].replace(",", ""))
    assert without_checkpoint == pytest.approx(tokens_per_s(train) / 4, rel=0.02)
    old = train(*DEBUG, "--voice", "torchtitan@0.1")
    assert old.stdout == ""
    first = re.search(r"step:  1  loss: (\d+\.\d{5})  ", run.stdout)
    assert first
    assert f"\x1b[31mstep:  1  \x1b[32mloss: {float(first[1]):.4f}  \x1b[33mmemory:" in old.stderr


def test_nanogpt_counts_from_0_and_knows_no_mfu_at_first(train: Train) -> None:
    text = train(*DEBUG, "--voice", "nanogpt").stdout
    found = re.findall(r"^iter (\d+): loss \d+\.\d{4}, time [\d.]+ms, mfu (-?[\d.]+)%$", text, re.M)
    assert [int(step) for step, _ in found] == [0, 5, 10, 15]
    assert found[0][1] == "-100.00"
    assert 20 < float(found[1][1]) < 30


def test_deepspeed_is_silent_by_default_since_0_17_6(train: Train) -> None:
    info = ("--set", "log.voice_options.log_level=info")
    assert train(*DEBUG, "--voice", "deepspeed@0.18").stdout == ""
    samples_per_s = tokens_per_s(train) / 1024
    for arguments in (("--voice", "deepspeed@0.16"), (*info, "--voice", "deepspeed@0.18")):
        text = train(*DEBUG, *arguments).stdout
        steps = re.findall(r"\[INFO\] \[logging\.py:\d+:log_dist\] \[Rank 0\] step=(\d+), skipped=0, lr=\[", text)
        assert steps == ["0", "5", "10", "15", "20"], "the first one at the end of the set-up"
        rates = [float(rate) for rate in re.findall(r"RunningAvgSamplesPerSec=([\d.]+), Curr", text)]
        assert rates == [pytest.approx(samples_per_s, rel=0.005)] * 4


def test_mlperfs_log_ends_when_the_target_is_reached(train: Train) -> None:
    loss = ("--set", "impose.first_loss=[4.0, 4.0]", "--set", "impose.last_loss=[0.8, 0.8]")
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in mllog(train, "llama2_70b_lora", *loss)]
    keys = [entry["key"] for entry in entries]
    assert keys[:3] == ["cache_clear", "cache_clear", "init_start"]
    assert keys[-4:] == ["eval_accuracy", "tracked_stats", "eval_stop", "run_stop"]
    assert entries[-1]["metadata"]["status"] == "success"
    assert 0 < entries[-4]["value"] <= 0.925
    assert [entry["time_ms"] for entry in entries] == sorted(entry["time_ms"] for entry in entries)
    assert list(entries[0]) == ["namespace", "time_ms", "event_type", "key", "value", "metadata"]
    missed = [json.loads(line.removeprefix(":::MLLOG ")) for line in mllog(train, "llama2_70b_lora")]
    assert missed[-1]["metadata"]["status"] == "aborted"


PRETRAINING = (
    "seed global_batch_size gradient_accumulation_steps max_sequence_length eval_samples train_samples "
    "init_checkpoint_step opt_name opt_base_learning_rate opt_adamw_beta_1 opt_adamw_beta_2 opt_adamw_epsilon "
    "opt_adamw_weight_decay opt_gradient_clip_norm opt_end_learning_rate opt_learning_rate_warmup_steps "
    "opt_learning_rate_decay_steps max_steps opt_learning_rate_decay_schedule target_accuracy"
)
FINE_TUNING = (
    "target_accuracy opt_base_learning_rate opt_adamw_weight_decay opt_gradient_clip_norm "
    "opt_learning_rate_warmup_factor lora_rank lora_alpha opt_learning_rate_training_steps global_batch_size "
    "train_samples eval_samples gradient_accumulation_steps seed"
)
SUBMISSION = "submission_benchmark submission_org submission_division submission_status submission_platform"
BLOCK = (
    "block_start tracked_stats tracked_stats tracked_stats block_stop eval_start eval_accuracy tracked_stats eval_stop"
)


@pytest.mark.parametrize(
    ("benchmark", "sizes"),
    [("llama31_8b", PRETRAINING), ("llama31_405b", PRETRAINING), ("llama2_70b_lora", FINE_TUNING)],
)
def test_mlperfs_keys_come_in_the_order_of_published_results(train: Train, benchmark: str, sizes: str) -> None:
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in mllog(train, benchmark)]
    start = f"cache_clear cache_clear init_start {SUBMISSION} {sizes} tracked_stats init_stop run_start"
    assert [entry["key"] for entry in entries] == f"{start} {BLOCK} {BLOCK} run_stop".split()
    blocks = [entry["metadata"] for entry in entries if entry["key"].startswith("block_")]
    assert [(each["samples_count"], each["step"]) for each in blocks] == [(640, 0), (640, 10), (640, 10), (640, 20)]
    validated = [entry["metadata"]["samples_count"] for entry in entries if entry["key"] == "eval_accuracy"]
    assert validated == [640, 1280]


def test_each_node_clears_mlperfs_cache_and_rank_0_logs_the_rest() -> None:
    with Job([*DEBUG, "--voice", "mlperf"], 4, 2) as job:
        assert job.wait() == [0] * 4
    keys = [re.findall(r'"key": "(\w+)"', rank.stdout) for rank in job.ranks]
    assert keys[1:] == [[], ["cache_clear"], []]
    assert keys[0][:2] == ["cache_clear", "init_start"]
    assert keys[0][-1] == "run_stop"


def mllog(train: Train, benchmark: str, *arguments: str) -> list[str]:
    run = train(*DEBUG, "--voice", f"mlperf@{benchmark}", *arguments)
    assert all(line.startswith(":::MLLOG {") for line in run.stdout.splitlines())
    return run.stdout.splitlines()
