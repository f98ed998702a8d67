"""Real runs of Lightning and DeepSpeed on the CPU print lines of the shapes and in the order of our voices' lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.reading import Train
from tests.support.repository import ROOT

pytestmark = pytest.mark.real

DEBUG = ("--config", str(ROOT / "configs" / "debug.yaml"), "--speed", "max", "--start-time", "2026-01-31T09:30:00Z")
ONE_GPU = ("--set", "cluster.nodes=1", "--set", "cluster.gpus_per_node=1")
LIMIT_S = 280
COUNT = re.compile(r"-?\d[\d.,]*(?:[eE][-+]?\d+)?(?: ?[KMBT]\b)?")


def printed(directory: Path, program: str, **environment: str) -> tuple[str, str]:
    """Standard output and standard error of a program that a real framework runs in."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=directory, capture_output=True, timeout=LIMIT_S,
        env=os.environ | {"TORCH_EXTENSIONS_DIR": str(directory / "extensions")} | environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def shape(line: str) -> str:
    """A line with its numbers taken out, and rows of blanks and of dashes made one."""
    return re.sub(r"(?<=-)-+", "", re.sub(r"\s+", " ", COUNT.sub("N", line))).strip()


# --- Lightning --------------------------------------------------------------------------------------

LIGHTNING = """
import lightning
import torch
from torch.utils.data import DataLoader
from lightning.pytorch.callbacks import ModelSummary, TQDMProgressBar


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = torch.nn.Linear(8, 8)

    def training_step(self, batch, index):
        loss = self.model(batch).pow(2).mean()
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.model(batch).pow(2).mean(), prog_bar=True, sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-3)


data = torch.randn(20, 8)
trainer = lightning.Trainer(
    max_steps=20, accelerator="cpu", devices=1, strategy="ddp", log_every_n_steps=5, limit_val_batches=8,
    callbacks=[TQDMProgressBar(), ModelSummary()])
trainer.fit(Model(), DataLoader(data, batch_size=2), DataLoader(data, batch_size=2))
"""


def frames(text: str) -> list[str]:
    """States of the bars of the training, as description, counts and names of the postfix."""
    states = (state.split("\n")[0].rstrip() for state in text.split("\r"))
    kept = (state for state in states if state and not state.startswith("Validation") and "\x1b[A" not in state)
    return [re.sub(r"\|[ ▏▎▍▌▋▊▉█]+\|", "||", re.sub(r"\[.*?(?:it/s)", "[RATE", each)) for each in kept]


def without_figures(state: str) -> str:
    return re.sub(r"(loss=)[\d.e+-]+", r"\1N", state)


def logged(text: str) -> list[str]:
    """Shapes of the logger's lines; the CPU's names of devices and the user's own advice are taken out."""
    text = re.sub(r"available: (?:True|False)(?: \(\w+\))?, used: (?:True|False)", "available: X, used: X", text)
    text = re.sub(r"backend=\w+", "backend=X", text)
    text = re.sub(r"\| (?:Linear|GPT2LMHeadModel) +\|", "| X |", text)
    text = re.sub(r"^(0 +)(Total Flops)", r"0 \2", text, flags=re.M)
    skipped = ("Trainer already configured", "LOCAL_RANK: ", "/", "  warn")
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith(skipped))
    return [shape(line) for line in lines if "HINT" not in line and "FLOPs" not in line]


def test_lightning_prints_the_lines_and_the_bars_of_our_voice(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    real_out, real_err = printed(tmp_path, LIGHTNING, MASTER_PORT=str(free_port()))
    ours = train(*DEBUG, *ONE_GPU, "--voice", "lightning")
    assert [without_figures(each) for each in frames(ours.stdout)] == [
        without_figures(each) for each in frames(real_out)
    ]
    assert logged(ours.stderr) == logged(real_err)


# --- DeepSpeed --------------------------------------------------------------------------------------

DEEPSPEED = """
import os
import sys

os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
import deepspeed
import deepspeed.comm.torch
import torch
from deepspeed.utils.logging import set_log_level_from_string

sys.modules["deepspeed.comm.torch"].build_shm_op = lambda *_: None  # it would take a compiler and minutes
set_log_level_from_string("info")
deepspeed.init_distributed()
model = torch.nn.Linear(8, 8)
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config={
    "train_batch_size": 4, "train_micro_batch_size_per_gpu": 2, "steps_per_print": 5, "gradient_clipping": 1.0,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "betas": [0.9, 0.95], "torch_adam": True}},
    "scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": 20, "warmup_num_steps": 4}},
    "bf16": {"enabled": True}, "zero_optimization": {"stage": 1}})
for _ in range(40):
    loss = engine(torch.randn(2, 8, dtype=torch.bfloat16)).float().pow(2).mean()
    engine.backward(loss)
    engine.step()
engine.save_checkpoint("out")
"""
RECORD = re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[INFO\] \[(\w+\.py):\d+:(\w+)\] (.*)$", re.M)


def records(text: str) -> list[str]:
    """File, function and shape of the logger's lines; paths, types, addresses and the lists of groups are taken out."""
    found = []
    for file, function, message in RECORD.findall(text):
        message = re.sub(r"\S*/(\S+/\S+\.pt)", r"\1", re.sub(r"0x[0-9a-f]+", "ADDRESS", message))
        message = re.sub(r"(Optimizer = |optimizer=)(?:Fused)?Adam\w*(?: type=.*)?", r"\1ADAM", message)
        message = re.sub(r"\[[^]]*\](?=, mom|$)", "[LIST]", re.sub(r"backend \w+", "backend X", message))
        message = re.sub(r"\{.*\}", "{DICTIONARY}", message)
        found.append(f"{file} {function} {shape(message)}")
    return found


def is_in_order(wanted: Iterable[str], found: Iterable[str]) -> bool:
    rest = iter(found)
    return all(each in rest for each in wanted)


def test_deepspeed_logs_the_lines_of_our_voice_in_their_order(train: Train, tmp_path: Path) -> None:
    if find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed")
    real, _ = printed(tmp_path, DEEPSPEED, MASTER_PORT=str(free_port()))
    options = ("--set", "log.voice_options.log_level=info", "--set", "parallel.sharding=zero1")
    ours = train(*DEBUG, *ONE_GPU, *options, "--set", "checkpoint.every=20", "--voice", "deepspeed@0.18").stdout
    shapes = records(real)
    ours_only = {"real_accelerator.py get_accelerator"}  # on a CPU it warns instead
    wanted = [each for each in records(ours) if not each.startswith(tuple(ours_only)) and "Flattening" not in each]
    assert len(wanted) > 30
    assert is_in_order(wanted, shapes), [each for each in wanted if each not in shapes]
    steps = [each for each in shapes if "step=N" in each and "log_dist" in each]
    assert steps == [each for each in wanted if "step=N" in each and "log_dist" in each]
