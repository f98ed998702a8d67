"""Readers of frameworks' logs judge ours: MLPerf's checkers, and transformers, whose Trainer prints the pattern."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.reading import Train
from tests.support.repository import ROOT

pytestmark = pytest.mark.real

DEBUG = ("--config", str(ROOT / "configs" / "debug.yaml"), "--speed", "max", "--start-time", "2026-01-31T09:30:00Z")
LIMIT_S = 300
COMMON = """
checkpoint: {every: 0}
log: {every: 32, gpu_grid_every: 0}
run: {speed: max}
"""
BENCHMARKS = {
    "llama31_8b": """
model: llama-3.1-8b
data: {dataset: c4}
cluster: {nodes: 4, gpus_per_node: 8, gpu: B200}
parallel: {tensor: 1, sharding: fsdp}
train: {epochs: 1, steps_per_epoch: 1200000, max_steps: 11000, global_batch: 32, lr: 8e-4, warmup_steps: 128}
eval: {every: 384, batches: 32}
""",
    "llama2_70b_lora": """
model: llama-2-70b
data: {dataset: alpaca}
cluster: {nodes: 1, gpus_per_node: 8, gpu: B200}
parallel: {tensor: 8, sharding: zero1}
train: {start: finetune, epochs: 1, steps_per_epoch: 1024, global_batch: 8, lr: 4e-4, min_lr: 0, max_grad_norm: 0.3}
eval: {every: 48, batches: 173}
impose: {first_loss: [1.4, 1.4], last_loss: [0.8, 0.8]}
""",
    "llama31_405b": """
model: llama-3.1-405b
data: {dataset: c4}
cluster: {nodes: 18, gpus_per_node: 8, gpu: B200}
parallel: {tensor: 8, pipeline: 9, context: 2, sharding: zero1}
train: {epochs: 1, steps_per_epoch: 1200000, max_steps: 40, global_batch: 1152, lr: 8e-5, warmup_steps: 8000}
eval: {every: 20, batches: 5760}
impose: {first_loss: [5.5, 5.5], last_loss: [4.0, 4.0]}
""",
}
"""Runs that follow the rules of a benchmark and reach its target."""


def mllog(train: Train, directory: Path, benchmark: str, *arguments: str) -> str:
    config = directory / f"{benchmark}.yaml"
    config.write_text(BENCHMARKS[benchmark] + COMMON)
    run = train("--config", str(config), "--voice", f"mlperf@{benchmark}", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def checked(directory: Path, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of MLPerf's checkers."""
    return subprocess.run(
        [sys.executable, "-m", f"mlperf_logging.{tool}", *arguments], cwd=directory, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_compliance_checker_accepts_a_run_that_follows_the_rules(
    train: Train, tmp_path: Path, benchmark: str
) -> None:
    pytest.importorskip("mlperf_logging")
    (tmp_path / "result_0.txt").write_text(mllog(train, tmp_path, benchmark))
    done = checked(tmp_path, "compliance_checker", "--usage", "training", "--ruleset", "5.1.0", "result_0.txt")
    assert "SUCCESS" in done.stdout + done.stderr, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    "broken", [("--max-steps", "400"), ("--set", "train.weight_decay=0.2"), ("--set", "train.steps_per_epoch=12000")]
)
def test_the_compliance_checker_refuses_a_run_that_breaks_a_rule(
    train: Train, tmp_path: Path, broken: tuple[str, ...]
) -> None:
    pytest.importorskip("mlperf_logging")
    (tmp_path / "result_0.txt").write_text(mllog(train, tmp_path, "llama31_8b", *broken))
    done = checked(tmp_path, "compliance_checker", "--usage", "training", "--ruleset", "5.1.0", "result_0.txt")
    assert "FAILED" in done.stdout + done.stderr
    assert done.returncode == 1


def test_ten_seeds_converge_no_faster_than_the_reference(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_logging")
    results = tmp_path / "results"
    results.mkdir()
    for seed in range(10):
        (results / f"result_{seed}.txt").write_text(mllog(train, tmp_path, "llama31_8b", "--seed", str(seed)))
    done = checked(tmp_path, "rcp_checker", "--rcp_usage", "training", "--rcp_version", "5.1.0", str(results))
    assert "RCP test PASSED" in done.stdout + done.stderr, done.stdout + done.stderr


# --- transformers -----------------------------------------------------------------------------------

TRAINER = """
import sys

sys.modules["deepspeed"] = None  # if it is installed, it says on standard output that there is no GPU
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=64, n_positions=32))
data = [{"input_ids": torch.arange(16), "labels": torch.arange(16)} for _ in range(40)]
trainer = Trainer(model, TrainingArguments(
    "out", num_train_epochs=2, per_device_train_batch_size=4, logging_steps=5, eval_strategy="epoch", report_to="none",
    use_cpu=True, save_strategy="no", seed=42), train_dataset=data, eval_dataset=data[:8])
metrics = trainer.train().metrics
trainer.log_metrics("train", metrics)
"""
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def shapes(text: str) -> list[str]:
    """Lines with their numbers taken out and rows of blanks made one."""
    return [re.sub(r" +", " ", NUMBER.sub("N", line)).strip() for line in text.splitlines() if line.strip()]


def test_lines_of_the_trainer_have_the_shape_and_the_order_of_those_that_it_prints(
    train: Train, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    major = transformers.__version__.partition(".")[0]
    if major not in ("4", "5"):
        pytest.skip(f"there is no voice of transformers {major}")
    real = subprocess.run(
        [sys.executable, "-c", TRAINER], cwd=tmp_path, capture_output=True, timeout=LIMIT_S,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}, check=False,
    )  # fmt: skip
    assert real.returncode == 0, real.stderr
    ours = train(*DEBUG, "--voice", f"hf@{major}")
    assert shapes(ours.stdout) == shapes(real.stdout.decode())
    times = r"\[\d\d:\d\d<(?:\d\d:\d\d|\?), +(?:\?|[\d.]+)(?:it/s|s/it)\]"
    pattern = re.compile(rf"^ *\d+%\|[ ▏▎▍▌▋▊▉█]{{10}}\| \d+/20 {times}$")
    for stream in (ours.stderr, real.stderr.decode()):
        states = (re.split(r"\[transformers\]|`loss_type", frame)[0].rstrip("\n") for frame in stream.split("\r"))
        frames = [state for state in states if "/20 [" in state]  # a logger's line may follow a state
        assert frames and all(pattern.match(frame) for frame in frames), frames[:5]


INFORMED = TRAINER.replace("import torch\n", "import torch\nimport transformers\n", 1)
INFORMED = INFORMED.replace(
    'save_strategy="no", seed=42', 'save_strategy="epoch", save_total_limit=1, log_level="info"'
)
INFORMED = INFORMED.replace(
    "metrics = trainer.train().metrics",
    """if transformers.__version__.startswith("4."):
    transformers.utils.logging.enable_explicit_format()
metrics = trainer.train().metrics
trainer.save_model()""",
)
"""The same training with the Trainer's logger at level INFO."""
OWN = ("Model config", "Writing model", "mtime may not", "`loss_type")
"""Beginnings of lines about this tiny model and its disk."""


def logged(text: str, out: str) -> list[str]:
    """Lines of the logger with the places of 4.x, and without numbers, prefixes of times and bars."""
    found = []
    for line in re.split(r"[\r\n]+", text.replace(out, "OUT")):
        match = re.search(r"(?:\[INFO\|(?P<place>[\w.:]+)\] [-\d]+ [\d:,]+ >> |\[transformers\] )(?P<text>.*)", line)
        if match and match["text"].strip() and not match["text"].startswith(OWN):
            found.append(f"{match['place'] or ''} {re.sub(r'[0-9][0-9,.]*', 'N', match['text'])}")
        elif line.startswith(("*****", "Training completed")):
            found.append(line)
    return found


def test_the_trainers_logger_says_what_our_voice_says(train: Train, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    major = transformers.__version__.partition(".")[0]
    if major not in ("4", "5") or (major == "4" and transformers.__version__ != "4.57.6"):
        pytest.skip(f"the voice has not the places of transformers {transformers.__version__}")
    real = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INFORMED], cwd=tmp_path, capture_output=True, timeout=LIMIT_S,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}, check=False,
    )  # fmt: skip
    assert real.returncode == 0, real.stderr
    ours = train(*DEBUG, "--voice", f"hf@{major}", "--set", "log.voice_options.log_level=info")
    assert logged(ours.stderr, "outputs/gpt2") == logged(real.stderr.decode(), "out")


def test_transformers_reads_the_trainers_state(train: Train, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "out"
    assert train(*DEBUG, "--output-dir", str(out)).returncode == 0
    losses = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (path,) = out.glob("checkpoint-*/trainer_state.json")
    state = transformers.TrainerState.load_from_json(str(path))
    assert state.stateful_callbacks["TrainerControl"]["args"]["should_save"]
    from transformers.trainer_callback import TrainerControl

    assert TrainerControl(**state.stateful_callbacks["TrainerControl"]["args"]).should_training_stop
    steps = [event["loss"] for event in losses if event["event"] == "step"]
    logged = [entry["loss"] for entry in state.log_history if "loss" in entry]
    assert logged == [pytest.approx(sum(steps[at : at + 5]) / 5, abs=6e-5) for at in (0, 5, 10, 15)]
