"""Plays many different runs as numbers alone and writes each as a table, to be compared with real training logs.

    python -m accelerate_sim.calibration.curve_samples DIRECTORY [DRAWING]

DRAWING 2, 3, ... draws all habits and shapes anew, as of models and data with other names: how much a verdict scatters.
Columns: step, loss, grad_norm, lr, step_time_s, tokens_per_s; empty where a logger of that kind says nothing. The runs
are of the kinds that people publish logs of, in about their proportions: from scratch and logged step by step or now
and then, continued from a checkpoint, and fine-tuned.
"""

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Floats, Steps
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import BLOCK

COLUMNS = ("step", "loss", "grad_norm", "lr", "step_time_s", "tokens_per_s")
Times = Literal["step", "interval", "between", "clock", "none"]
"""A logged time is the step's own, the mean over the interval (Megatron), that from the last step's end on, with what
was validated and saved in between (scripts of one file), or that by a clock that shows whole seconds (HF's trainer; its
losses are means, too); many loggers have none."""
Raw = dict[str, Any]
Row = tuple[str, ...]
Work = Callable[[Steps, int], Floats]
"""What each of the steps costs, as a multiple of a usual one; the number is that of all steps."""


def preconditioned(steps: Steps, _total: int) -> Floats:
    """An optimizer that decomposes its preconditioners at every tenth step, which then takes five times as long."""
    return np.where(steps % 10 == 9, 5.2, 1.0)


def growing_windows(steps: Steps, total: int) -> Floats:
    """Attention windows that grow from 128 tokens to 1792, a block at a time; attention is a sixth of the work."""
    return np.asarray(0.85 + 0.16 * np.ceil(14 * (steps + 1) / total) / 14)


@dataclass(frozen=True)
class Kind:
    """A run and the manner in which it is logged."""

    name: str
    config: Raw
    seeds: int = 2
    every: int = 1
    """Steps from one logged value to the next."""
    times: Times = "step"
    clock_decimals: int = 5
    """Of the seconds of a clock that runs on."""
    own_loss: bool = False
    """The loss is that of the first rank's last micro-batch: scripts of one file often spare the reduction."""
    warmed_up: bool = False
    """The log begins behind the slow first step: benchmarks and speed records make some steps before they measure."""
    work: Work | None = None
    """What no key of a config says of the training script."""


def kind(
    name: str, model: str | Raw, gpus: tuple[int, str], batch: tuple[int, int, int], steps: int, *, seeds: int = 2,
    every: int = 1, times: Times = "step", epochs: int = 1, parallel: Raw | None = None, data: str = "fineweb",
    validate: int | str = "epoch", save: int = 500, clock_decimals: int = 5,
    tokenizer: str | None = None,
    own_loss: bool = False, warmed_up: bool = False, work: Work | None = None, **train: Any,
) -> Kind:  # fmt: skip
    """``gpus`` is how many of which; ``batch`` is global batch, micro-batch and sequence length."""
    number, gpu = gpus
    per_node = min(number, 8)
    raw: Raw = {
        "model": model,
        "data": {"dataset": data, "tokenizer": tokenizer},
        "cluster": {"nodes": number // per_node, "gpus_per_node": per_node, "gpu": gpu},
        "parallel": {"tensor": 1, "sharding": "fsdp", **(parallel or {})},
        "train": {
            "epochs": epochs, "steps_per_epoch": steps // epochs, "global_batch": batch[0], "micro_batch": batch[1],
            "sequence_length": batch[2], **train,
        },
        "eval": {"every": validate, "batches": 20},
        "checkpoint": {"every": save},
    }  # fmt: skip
    return Kind(name, raw, seeds, every, times, clock_decimals, own_loss, warmed_up, work)


def tiny(vocab: int, layers: int = 9, hidden: int = 512) -> Raw:
    """A model of a few megabytes."""
    return {"name": f"tiny-{vocab}", "layers": layers, "hidden": hidden, "heads": 8, "ffn": 3 * hidden,
            "vocab": vocab, "context": 2048, "tied_embeddings": True}  # fmt: skip


DDP: Raw = {"sharding": "ddp"}
FOREIGN = "Mixtral SentencePiece"
"""Tokenizer of that benchmark, whose checkpoint knows another."""
BIG: Raw = {"tensor": 8, "pipeline": 8, "virtual_stages": 4, "sharding": "zero1"}
KINDS = (
    # From scratch, every step logged: a machine, some hundred million parameters, half a million tokens a step.
    kind("gpt2", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 9500, parallel=DDP,
         times="between", validate=250, save=5000, clock_decimals=3, lr=6e-4, warmup_steps=400),
    kind("gpt2-wsd", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 6000, parallel=DDP,
         times="between", validate=125, save=0, clock_decimals=3, own_loss=True, lr=1.8e-3, schedule="wsd",
         warmup_steps=250, seeds=1),
    kind("gpt2-xl", "gpt2-xl", (8, "H100-SXM"), (512, 16, 1024), 15_000, lr=3e-4, warmup_steps=300, seeds=1,
         times="between", validate=1000, save=5000, clock_decimals=3, own_loss=True),
    kind("gpt2-preconditioned", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 6000, parallel=DDP, seeds=1,
         times="between", validate=128, save=0, clock_decimals=3, lr=3e-3, schedule="wsd", warmup_steps=250,
         work=preconditioned),
    kind("gpt2-windows", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 5500, parallel=DDP, clock_decimals=3,
         times="between", validate=125, save=0, lr=3e-3, schedule="wsd", warmup_steps=0, work=growing_windows,
         warmed_up=True, seeds=1),
    kind("smollm", "smollm2-360m", (8, "A100-80-SXM"), (256, 32, 2048), 3200, parallel=DDP, lr=1e-3, schedule="wsd",
         data="fineweb-edu", seeds=1),
    # From scratch on machines of their day, small batches, few steps.
    kind("qwen7b-v100", "qwen2.5-7b", (16, "V100-32-SXM"), (16, 1, 2048), 500, parallel={"tensor": 4}, precision="fp16",
         times="between", validate=100, save=0, warmed_up=True,
         lr=1e-5, schedule="linear", warmup_steps=50, seeds=3),
    kind("llama7b-short", "llama-2-7b", (32, "A100-80-SXM"), (32, 1, 2048), 600, lr=2e-5, schedule="linear", seeds=1,
         warmup_steps=50),
    kind("mistral7b", "mistral-7b", (64, "H100-SXM"), (64, 1, 2048), 1500, lr=3e-4, seeds=1, data="slimpajama"),
    # Clusters, Megatron's manner.
    kind("15b-h100", "nemotron-4-15b", (64, "H100-SXM"), (384, 2, 4096), 10_000, parallel={"tensor": 4}, every=5,
         lr=4.5e-4, warmup_steps=500),
    kind("15b-a100", "nemotron-4-15b", (128, "A100-80-SXM"), (384, 1, 4096), 5000, parallel={"tensor": 4}, every=5,
         lr=3e-4, warmup_steps=250, seeds=1),
    kind("encoder-sized", "gpt2", (8, "H100-SXM"), (128, 16, 512), 5000, every=5, lr=1e-4, schedule="linear",
         parallel={"tensor": 4, "sharding": "zero1"}, data="the-pile", warmup_steps=200, seeds=3),
    kind("weekly-test", "pythia-1.4b", (8, "H100-SXM"), (64, 1, 2048), 2000, lr=1.5e-4, warmup_steps=600,
         parallel={"tensor": 2, "pipeline": 2, "sharding": "zero1"}, data="the-pile", precision="fp8"),
    kind("weekly-test-gb200", "opt-1.3b", (8, "GB200"), (64, 1, 2048), 2000, lr=1.5e-4, warmup_steps=600,
         parallel={"tensor": 2, "pipeline": 2, "sharding": "zero1"}, data="c4", precision="fp8", seeds=1),
    kind("llama8b", "llama-3-8b", (128, "H100-SXM"), (512, 1, 8192), 3000, lr=3e-4, data="dclm-baseline", seeds=1),
    kind("llama70b", "llama-3-70b", (64, "H100-SXM"), (128, 2, 8192), 3000, parallel={"tensor": 8}, seeds=1),
    kind("mixtral", "mixtral-8x7b", (128, "H100-SXM"), (1024, 1, 4096), 2000, data="slimpajama", seeds=1,
         parallel={"expert": 8, "pipeline": 4, "virtual_stages": 8, "sharding": "zero1"}, lr=3e-4),
    # Small models, sampled.
    kind("tiny-1024", tiny(1024), (8, "H100-SXM"), (512, 64, 1024), 14_000, parallel=DDP, every=50, times="interval",
         lr=1e-3, warmup_steps=2, schedule="wsd"),
    kind("tiny-bytes", tiny(256, 12), (8, "H100-SXM"), (256, 32, 2048), 60_000, parallel=DDP, every=200,
         times="interval", lr=6e-4, warmup_steps=20, seeds=1),
    kind("tiny-4096", tiny(4096, 10), (1, "H100-SXM"), (64, 32, 1024), 30_000, parallel=DDP, every=20, times="interval",
         lr=6e-4, warmup_steps=20, schedule="wsd", seeds=1),
    kind("lightning", "smollm2-135m", (4, "A100-80-SXM"), (64, 16, 1024), 60_000, parallel=DDP, every=50,
         times="none", lr=3e-4, warmup_steps=500, own_loss=True),
    kind("lightning-pythia", "pythia-160m", (8, "RTX-4090"), (64, 8, 1024), 40_000, parallel=DDP, every=50,
         times="none", lr=2e-4, warmup_steps=500, data="the-pile"),
    # Continued from a checkpoint: a benchmark's 405B on many GPUs.
    kind("405b-512", "llama-3.1-405b", (512, "H100-SXM"), (1152, 1, 8192), 240, parallel=BIG, start="checkpoint",
         data="c4", tokenizer=FOREIGN, lr=8e-5, warmup_steps=20, seeds=1, warmed_up=True),
    kind("405b-1024", "llama-3.1-405b", (1024, "H200-SXM"), (768, 1, 8192), 360, parallel=BIG, start="checkpoint",
         data="c4", tokenizer=FOREIGN, lr=6e-5, warmup_steps=25),
    kind("405b-8192", "llama-3.1-405b", (8192, "H100-SXM"), (2048, 1, 8192), 210, parallel=BIG, start="checkpoint",
         data="c4", tokenizer=FOREIGN, lr=8e-5, warmup_steps=20, seeds=1),
    kind("405b-256", "llama-3.1-405b", (256, "GB200"), (448, 1, 8192), 620, parallel={"tensor": 4, "pipeline": 16,
         "sharding": "zero1"}, start="checkpoint", data="c4", tokenizer=FOREIGN, lr=4e-5, warmup_steps=40),
    kind("70b-continued", "llama-2-70b", (64, "A100-80-SXM"), (256, 1, 4096), 300, parallel={"tensor": 8},
         start="checkpoint", lr=3e-5, warmup_steps=10, data="proof-pile-2"),
    # Fine-tuned: conversations and instructions, small batches, one pass or several.
    kind("sft-27b", "gemma-2-27b", (8, "H100-SXM"), (8, 1, 2048), 2400, times="none", start="finetune",
         data="ultrachat", lr=1e-5, warmup_steps=200),
    kind("sft-27b-64", "gemma-2-27b", (8, "H100-SXM"), (64, 1, 2048), 300, times="none", start="finetune",
         data="ultrachat", lr=8e-6, warmup_steps=12, min_lr=0.0),
    kind("sft-mixtral", "mixtral-8x7b", (16, "H100-SXM"), (16, 1, 2048), 1000, times="none", start="finetune",
         data="open-orca", lr=1e-5, warmup_steps=40, min_lr=0.0),
    kind("alpaca-7b", "llama-2-7b", (8, "A100-80-SXM"), (128, 4, 512), 1200, times="none", start="finetune",
         data="alpaca", epochs=3, lr=2e-5, warmup_steps=36, min_lr=0.0),
    kind("alpaca-13b", "llama-2-13b", (8, "A100-80-SXM"), (128, 4, 512), 1200, times="none", start="finetune",
         data="alpaca", epochs=3, lr=2e-5, warmup_steps=36, min_lr=0.0),
    kind("continued-7b", "qwen2.5-7b", (8, "A100-80-SXM"), (512, 2, 2048), 8700, start="finetune", data="wikipedia-en",
         lr=5e-5, warmup_steps=1, min_lr=0.0, every=5, times="clock", warmed_up=True, seeds=3),
    kind("lora-mistral", "mistral-7b", (8, "A100-80-SXM"), (48, 2, 2048), 8600, start="finetune", data="dolly-15k",
         epochs=4, lr=5e-5, warmup_steps=860, min_lr=0.0, every=10, times="clock", warmed_up=True, seeds=3),
    kind("medical-mistral", "mistral-7b-v0.3", (8, "RTX-4090"), (32, 1, 1024), 16_000, start="finetune", data="pubmed",
         lr=2e-4, warmup_steps=1600, min_lr=0.0, schedule="linear", every=25, times="none", seeds=3),
    kind("medical-qwen", "qwen2.5-7b", (8, "A100-80-SXM"), (48, 2, 2048), 6700, start="finetune", data="ultrachat",
         lr=1e-4, warmup_steps=670, min_lr=0.0, every=10, times="clock", seeds=3),
    kind("code-34b", "codellama-34b", (16, "H100-SXM"), (64, 1, 4096), 1500, start="finetune", data="starcoderdata",
         lr=1e-5, warmup_steps=50, min_lr=0.0, seeds=1),
    kind("chat-8b", "llama-3-8b", (8, "H100-SXM"), (64, 1, 4096), 2500, start="finetune", data="openhermes-2.5",
         epochs=2, lr=1e-5, warmup_steps=75, min_lr=0.0, every=5, times="clock"),
)  # fmt: skip


def played(one: Kind, seed: int, drawing: int = 1) -> Iterator[Row]:
    """The rows of a run as its logger writes them."""
    config = RunConfig.model_validate({**one.config, "run": {"seed": seed}})
    run = Run(config)
    if drawing > 1:
        run.shape_seed = noise.seed_of(run.shape_seed, drawing)
    if one.work:
        of_step, total = one.work, run.total_steps
        run.step_times = replace(run.step_times, work_of=lambda steps: of_step(steps, total))
    clock_s, before_s = 0, 0.0
    for first in range(0, run.total_steps, BLOCK * one.every):
        last = min(first + BLOCK * one.every, run.total_steps)
        blocks = [run.block_of(step) for step in range(first, last, BLOCK)]
        loss, norm, lr, step_s, end_s = (
            np.concatenate([getattr(block, name) for block in blocks])[: last - first]
            for name in ("loss", "grad_norm", "lr", "step_s", "step_end_s")
        )
        for row in range(one.every - 1, last - first, one.every):
            own, seconds = float(loss[row]), float(step_s[row])
            if one.own_loss:
                own = round(float(run.micro_losses(first + row)[-1, 0]), 4)
            interval = slice(row - one.every + 1, row + 1)
            if one.times == "interval":
                seconds = round(float(step_s[interval].mean()), 5)
            if one.times == "between":
                seconds = (round(float(end_s[row]), one.clock_decimals) - before_s) / one.every
                before_s = round(float(end_s[row]), one.clock_decimals)
            if one.times == "clock":
                own = round(float(loss[interval].mean()), 4)
                seconds = (int(end_s[row]) - clock_s) / one.every
                clock_s = int(end_s[row])
            if one.warmed_up and first + row < one.every:
                continue
            timed = one.times != "none" and seconds > 0.0
            times = (f"{seconds:.8g}", f"{run.tokens_of(first + row) / seconds:.8g}") if timed else ("", "")
            yield (str(first + row + 1), f"{own:.8g}", f"{norm[row]:.8g}", f"{lr[row]:.6g}", *times)


def main() -> int:
    """Write all runs below the directory that the command line names."""
    drawing = sys.argv[2] if len(sys.argv) > 2 else "1"
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-") or not drawing.isdigit() or drawing == "0":
        print(__doc__, file=sys.stderr)
        return 2
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    first = 100 * (int(drawing) - 1) + 1
    for one in KINDS:
        for seed in range(first, first + one.seeds):
            path = directory / f"{one.name}-{seed}.csv"
            path.unlink(missing_ok=True)  # rather than to follow it, if it is a link
            with path.open("x", newline="", encoding="utf-8") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(COLUMNS)
                table.writerows(played(one, seed, int(drawing)))
    print(f"{sum(one.seeds for one in KINDS)} runs of {len(KINDS)} configs in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
