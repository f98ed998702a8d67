"""Voices of frameworks whose lines are read by one form each: their figures are those of the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.support.reading import Train
from tests.support.train_ranks import Job

DEBUG = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", "2026-01-31T09:30:00+00:00")
NUMBER = r"[+-]?[\d.,]+(?:[eE][+-]\d+)?"
FORMS = {
    "bridge": rf"iteration +(?P<step>\d+)/ +20 \|.* lm loss: (?P<mean>{NUMBER}) \|.* grad norm: (?P<norm>{NUMBER}) ",
    "nemo": rf"^Training epoch \d+, iteration (?P<before>\d+)/19 \| .* reduced_train_loss: (?P<mean>{NUMBER}) ",
    "maxtext@2025": rf"^completed step: (?P<before>\d+), seconds: .*, loss: (?P<loss>{NUMBER})$",
    "maxtext@2026": rf"^I0131 .* metric_logger.py:230\] completed step: (?P<before>\d+), .*, loss: (?P<loss>{NUMBER}),",
    "olmo": rf"\[step=(?P<step>\d+)/20,epoch=\d(?:,eta=\w+)?\](?:\n    [^\n]*)*\n    train/CE loss=(?P<loss>{NUMBER})$",
    "llmc": rf"^step +(?P<step>\d+)/20 \| loss (?P<loss>{NUMBER}) \(\S+z\)\| norm (?P<norm>{NUMBER}) \(\S+z\)\| lr ",
    "llamafactory@4": rf"\{{'loss': (?P<mean>{NUMBER}), 'grad_norm': (?P<norm>{NUMBER}), ",
    "axolotl@5": rf"\{{'loss': '(?P<mean>{NUMBER})', 'grad_norm': '(?P<norm>{NUMBER})', .*'ppl': '{NUMBER}', ",
}
"""Rules that find the figures of a step in a voice's lines; ``before`` is a step that counts from 0."""
COUNTS = {"bridge": 4, "nemo": 4, "maxtext@2025": 40, "maxtext@2026": 40, "olmo": 5, "llmc": 20}


def steps_of(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "step"]


@pytest.mark.parametrize("voice", FORMS)
def test_the_figures_of_a_voice_are_the_runs(train: Train, tmp_path: Path, voice: str) -> None:
    run = train(*DEBUG, "--voice", voice, "--output-dir", str(tmp_path / "out"))
    assert run.returncode == 0
    steps = steps_of(tmp_path / "out")
    found = list(re.finditer(FORMS[voice], run.stdout + run.stderr, re.MULTILINE))
    assert len(found) == COUNTS.get(voice, 4)
    for number, match in enumerate(found):
        figures = {key: float(value.replace(",", "")) for key, value in match.groupdict().items()}
        step = int(figures.get("step", figures.get("before", 5 * number + 4) + ("step" not in figures)))
        past = steps[step - 5 : step]
        if "mean" in figures:
            assert figures["mean"] == pytest.approx(sum(each["loss"] for each in past) / 5, rel=1e-3)
        if "loss" in figures:
            assert figures["loss"] == pytest.approx(steps[step - 1]["loss"], rel=1e-3)
        if "norm" in figures:
            assert figures["norm"] == pytest.approx(steps[step - 1]["grad_norm"], rel=1e-3)


def test_a_z_score_follows_a_window_of_128_steps(train: Train) -> None:
    length = ("--set", "train.steps_per_epoch=140", "--max-steps", "140")
    lines = [line for line in train(*DEBUG, *length, "--voice", "llmc").stdout.splitlines() if line.startswith("step ")]
    scores = [re.findall(r"\((\S+)z\)", line) for line in lines]
    assert scores[:128] == [["+nan", "+nan"]] * 128
    assert all(-9 < float(score) < 9 for pair in scores[128:] for score in pair)


def test_nanochats_loss_is_a_debiased_mean(train: Train, tmp_path: Path) -> None:
    run = train(*DEBUG, "--voice", "nanochat", "--output-dir", str(tmp_path / "out"))
    mean = 0.0
    printed = re.findall(rf"^step \d+/00020 .* loss: ({NUMBER}) \|", run.stdout, re.MULTILINE)
    for count, (step, text) in enumerate(zip(steps_of(tmp_path / "out"), printed, strict=True), 1):
        mean = 0.9 * mean + 0.1 * step["loss"]
        assert float(text) == pytest.approx(mean / (1 - 0.9**count), abs=2e-6)


def test_nanochat_goes_on_with_the_mean_and_the_time_of_its_checkpoint(train: Train) -> None:
    options = (*DEBUG, "--voice", "nanochat", "--set", "checkpoint.every=5", "--set", "checkpoint.shards=tiny")
    whole, broken = train(*options).stdout, train(*options, "--fault", "kill at=step:17").stdout
    end = re.compile(r"^(?:step 0001[5-9]/|Total training time|Minimum validation).*$", re.MULTILINE)
    assert broken.count("step 00015/00020 ") == 2
    assert end.findall(broken)[-7:] == end.findall(whole)[-7:]


def test_lightnings_bar_is_on_standard_output_and_its_logger_on_standard_error(train: Train) -> None:
    run = train(*DEBUG, "--voice", "lightning")
    assert run.stdout.endswith("\n")
    frames = run.stdout.split("\r")[1:]
    assert frames[0] == "Sanity Checking: |          | 0/? [00:00<?, ?it/s]"
    begin = frames.index("Epoch 0:   0%|          | 0/10 [00:00<?, ?it/s]")
    counts = [match[1] for frame in frames[begin + 1 :] if (match := re.match(r"Epoch 0: .*\| (\d+)/10 \[", frame))]
    assert counts[:20] == [str(number) for number in range(1, 11) for _ in range(2)], (
        "with the count, then with the loss"
    )
    done = [frame for frame in frames if "| 10/10 [" in frame]
    assert re.match(r"Epoch 1: 100%\|█{10}\| 10/10 \[0.*, +[\d.]+it/s, v_num=0, train_loss=7\.\d\d0, ", done[-1])
    assert "s/it" not in run.stdout
    assert run.stderr.splitlines()[-1] == "`Trainer.fit` stopped: `max_steps=20` reached."
    assert run.stderr.count("LOCAL_RANK: 0 - CUDA_VISIBLE_DEVICES: [0,1]") == 2


def test_nemo_averages_every_figure_but_the_number_of_the_step(train: Train, tmp_path: Path) -> None:
    run = train(*DEBUG, "--voice", "nemo", "--output-dir", str(tmp_path / "out"))
    steps = steps_of(tmp_path / "out")
    pattern = rf"lr: ({NUMBER}) .* global_step: (\d+) .* in s: ({NUMBER}) \| consumed_samples: ({NUMBER})$"
    found = re.findall(pattern, run.stdout, re.MULTILINE)
    assert [int(step) for _, step, _, _ in found] == [4, 9, 14, 19]
    for at, (lr, _, seconds, consumed) in zip((0, 5, 10, 15), found, strict=True):
        past = steps[at : at + 5]
        assert float(lr) == pytest.approx(fmean(each["lr"] for each in past), rel=1e-3)
        assert float(seconds) == pytest.approx(fmean(each["step_time_s"] for each in past), rel=1e-3)
        samples = [64 * each["step"] for each in past if each["step"] > 1]
        assert float(consumed) == pytest.approx(sum(samples) / 5), "the first step has no count yet"


VOICES = ("lightning", "deepspeed@0.16")
FURTHER = ("megatron@0.19", "maxtext@2026", "bridge", "nanochat", "llamafactory", "mlperf")


@pytest.mark.parametrize("voice", [*VOICES, *(pytest.param(name, marks=pytest.mark.slow) for name in FURTHER)])
def test_each_process_prints_the_lines_that_one_process_prints_for_its_rank(
    train: Train, tmp_path: Path, voice: str
) -> None:
    """A hazard that strikes nothing tells the rank and the stream of each line of the process that plays all ranks."""
    arguments = (*DEBUG, "--voice", voice, "--no-progress", "--output-dir")
    assert train(*arguments, str(tmp_path / "alone"), "--log-hazard", "nan:0").returncode == 0
    truth = [json.loads(line) for line in (tmp_path / "alone" / "log_truth.jsonl").read_text().splitlines()]
    with Job([*arguments, str(tmp_path / "ranks")], 4, 2) as job:
        assert job.wait() == [0] * 4
    for rank, process in enumerate(job.ranks):
        for stream in ("stdout", "stderr"):
            lines = [entry["line"] for entry in truth if (entry["rank"], entry["stream"]) == (rank, stream)]
            printed = getattr(process, stream).replace(f"{tmp_path}/ranks", f"{tmp_path}/alone")
            assert printed == "".join(f"{line}\n" for line in lines)


def test_axolotls_colours_can_be_taken_off(train: Train) -> None:
    plain = train(*DEBUG, "--voice", "axolotl", "--set", "log.voice_options.no_color=true").stdout
    assert "Starting trainer...\x1b[39m\n" in train(*DEBUG, "--voice", "axolotl").stdout
    assert "\x1b" not in plain
