"""Kinds of runs that people publish logs of: a config, and the manner in which its logger writes values down.

Proportions follow public logs: from scratch on one machine and logged step by step or now and then, benchmarks on
clusters, continued from a checkpoint, and fine-tuned. A habit of one project has one project's weight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from accelerate_sim.sim.noise import Floats, Steps

Times = Literal["step", "interval", "benchmark", "between", "clock", "none"]
"""Manner in which a logger takes a time.

``step`` is the step's own time, ``interval`` the mean over the logging interval (Megatron), ``benchmark`` that mean
with all decimals and the time that the logger itself takes (MLPerf's 8B), ``between`` the time since the last step's
end with validations and checkpoints in between (scripts of one file), ``clock`` that by a clock that shows whole
seconds (one trainer); many loggers have none.
"""
Losses = Literal["step", "rank", "mean", "smoothed", "none"]
"""Loss that a logger writes.

``step`` is the step's, ``rank`` that of the first rank's last micro-batch, ``mean`` the mean over the interval (HF's
trainer), ``smoothed`` a debiased exponential average of the first rank's last micro-batches (nanochat); ``none`` are
benchmarks whose losses are not published.
"""
Raw = dict[str, Any]
Work = Callable[[Steps, int], Floats]
"""Cost of each of the steps as a multiple of a usual one; the number is that of all steps."""


def preconditioned(steps: Steps, _total: int) -> Floats:
    """Cost with an optimizer that decomposes its preconditioners at every tenth step, a fivefold one."""
    return np.where(steps % 10 == 9, 5.2, 1.0)


def growing_windows(steps: Steps, total: int) -> Floats:
    """Cost with attention windows that grow from 128 tokens to 1792 by blocks; attention is a sixth of the work."""
    return np.asarray(0.85 + 0.16 * np.ceil(14 * (steps + 1) / total) / 14)


@dataclass(frozen=True)
class Kind:
    """A run and the manner in which it is logged."""

    name: str
    config: Raw
    seeds: int = 1
    every: int = 1
    """Steps from one logged value to the next."""
    times: Times = "step"
    losses: Losses = "step"
    clock_decimals: int = 5
    """Decimals of the seconds of a clock that runs on."""
    norms: bool = True
    """The logger writes the gradient norm."""
    warmed_up: bool = False
    """The log begins behind the slow first step: benchmarks and speed records make some steps before they measure."""
    work: Work | None = None
    """Cost of steps that no key of a config expresses."""


def kind(
    name: str, model: str | Raw, gpus: tuple[int, str], batch: tuple[int, int, int], steps: int, *, seeds: int = 1,
    every: int = 1, times: Times = "step", losses: Losses = "step", norms: bool = True, epochs: int = 1,
    parallel: Raw | None = None, data: str = "fineweb", validate: int | str = "epoch", save: int = 500,
    clock_decimals: int = 5, tokenizer: str | None = None, warmed_up: bool = False, work: Work | None = None,
    **train: Any,
) -> Kind:  # fmt: skip
    """Make a kind; ``gpus`` is how many of which, ``batch`` is global batch, micro-batch and sequence length."""
    number, gpu = gpus
    per_node = min(number, 72 if gpu.startswith("GB") and number % 72 == 0 else 8)
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
    return Kind(name, raw, seeds, every, times, losses, clock_decimals, norms, warmed_up, work)


def tiny(vocab: int, layers: int = 9, hidden: int = 512) -> Raw:
    """Architecture of a model of a few megabytes."""
    return {"name": f"tiny-{vocab}", "layers": layers, "hidden": hidden, "heads": 8, "ffn": 3 * hidden,
            "vocab": vocab, "context": 2048, "tied_embeddings": True}  # fmt: skip


DDP: Raw = {"sharding": "ddp"}
FOREIGN = "Mixtral SentencePiece"
"""Tokenizer of a benchmark whose checkpoint was trained with another."""
BIG: Raw = {"tensor": 8, "pipeline": 8, "virtual_stages": 4, "sharding": "zero1"}
GPT3: Raw = {"tensor": 4, "pipeline": 8, "virtual_stages": 6, "sharding": "zero1"}
D20: Raw = {"name": "d20", "layers": 20, "hidden": 1280, "heads": 10, "ffn": 5120, "vocab": 65536, "context": 2048,
            "gated_mlp": False}  # fmt: skip
MLPERF_8B: Raw = {
    "data": "c4", "precision": "fp8", "every": 32, "times": "benchmark", "norms": False, "save": 0, "validate": 384,
    "warmed_up": True, "schedule": "constant",
}  # fmt: skip
"""Keys of a benchmark whose rate decays over 1.2 million steps, of which a run makes a hundredth."""
MLPERF_405B: Raw = {
    "start": "checkpoint", "data": "c4", "tokenizer": FOREIGN, "warmed_up": True, "norms": False, "save": 0,
}  # fmt: skip
SFT: Raw = {"start": "finetune", "min_lr": 0.0, "times": "none", "save": 0}

KINDS = (
    # From scratch on one machine, every step logged.
    kind("gpt2", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 9500, parallel=DDP, validate=250, save=5000, lr=6e-4,
         min_lr=0.0, warmup_steps=700),
    kind("gpt2-one-gpu", "gpt2", (1, "A100-40-SXM"), (512, 64, 1024), 19_000, parallel=DDP, data="fineweb-edu", lr=6e-4,
         min_lr=0.0, times="between", validate=250, save=5000, warmup_steps=715, compiled=True),
    kind("gpt2-clock", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 9500, parallel=DDP, times="between", validate=128,
         save=5000, clock_decimals=3, lr=1.8e-3, min_lr=0.0, warmup_steps=250, schedule="wsd",
         norms=False),
    kind("gpt2-v100", "gpt2", (8, "V100-32-SXM"), (512, 32, 1024), 15_000, parallel=DDP, times="between", validate=250,
         save=5000, precision="fp16", data="openwebtext", lr=6e-4, warmup_steps=715),
    kind("gpt2-xl", "gpt2-xl", (8, "H100-SXM"), (512, 16, 1024), 15_000, lr=3e-4, warmup_steps=300, norms=False,
         times="between", validate=1000, save=5000, losses="rank"),
    kind("gpt2-soap", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 6000, parallel=DDP, times="between", validate=128,
         save=0, clock_decimals=3, lr=3e-3, min_lr=0.0, schedule="wsd", warmup_steps=250, work=preconditioned,
         optimizer="soap", norms=False),
    kind("gpt2-muon", "gpt2", (8, "H100-SXM"), (512, 64, 1024), 5500, parallel=DDP, clock_decimals=3, losses="rank",
         times="between", validate=125, save=0, lr=1.8e-3, min_lr=0.0, schedule="wsd", warmup_steps=0,
         work=growing_windows, warmed_up=True, optimizer="muon", norms=False),
    kind("gpt2-small-batch", "gpt2", (1, "RTX-4090"), (32, 16, 1024), 2000, parallel=DDP, data="wikitext-103", lr=3e-4,
         warmup_steps=100, seeds=2),
    kind("gpt2-stories", "gpt2", (1, "A100-80-SXM"), (32, 32, 1024), 2000, parallel=DDP, data="tinystories", lr=6e-4,
         warmup_steps=100),
    kind("smollm", "smollm2-360m", (8, "A100-80-SXM"), (256, 32, 2048), 3200, parallel=DDP, lr=1e-3, schedule="wsd",
         data="fineweb-edu"),
    kind("d20", D20, (8, "H100-SXM"), (256, 32, 2048), 21_400, parallel=DDP, data="fineweb-edu", lr=2e-3,
         min_lr=0.0, schedule="wsd", warmup_steps=0, optimizer="muon", losses="smoothed", norms=False, seeds=2),
    kind("d20-one-gpu", D20, (1, "H100-SXM"), (256, 32, 2048), 2400, parallel=DDP, data="fineweb-edu", lr=2e-3,
         min_lr=0.0, schedule="wsd", warmup_steps=0, optimizer="muon", losses="smoothed"),
    kind("d12", tiny(32_768, 12, 768), (1, "H200-SXM"), (128, 32, 2048), 1200, parallel=DDP, data="fineweb-edu",
         lr=2e-3, min_lr=0.0, schedule="wsd", warmup_steps=200, optimizer="muon", losses="smoothed", norms=False),
    kind("d20-mid", D20, (8, "H100-SXM"), (256, 32, 2048), 770, parallel=DDP, data="openhermes-2.5", start="finetune",
         lr=2e-3, optimizer="muon", losses="smoothed", norms=False),
    # From scratch on few GPUs, logged now and then.
    kind("titan-160m", "pythia-160m", (1, "H100-SXM"), (64, 16, 2048), 1800, parallel=DDP, data="c4", lr=6e-4, every=10,
         times="interval", warmup_steps=200, norms=False),
    kind("cloud-small", "smollm2-135m", (4, "A100-80-SXM"), (256, 32, 2048), 7800, parallel=DDP, data="cosmopedia-v2",
         lr=6e-4, every=20, times="none", warmup_steps=400, norms=False),
    kind("small-decoder", "smollm2-135m", (1, "H100-PCIe"), (128, 32, 1024), 40_000, parallel=DDP, every=40,
         times="none", lr=4e-4, warmup_steps=500),
    kind("characters", tiny(96, 6, 384), (1, "RTX-4090"), (64, 64, 256), 5000, parallel=DDP, data="pg19", every=10,
         lr=1e-3, warmup_steps=100, norms=False, seeds=2),
    kind("tiny-1024", tiny(1024), (8, "H100-SXM"), (512, 64, 1024), 14_000, parallel=DDP, every=50, times="interval",
         lr=1e-3, warmup_steps=2, schedule="wsd", optimizer="muon", norms=False, seeds=2),
    kind("tiny-bytes", tiny(256, 12), (8, "H100-SXM"), (256, 32, 2048), 60_000, parallel=DDP, every=200,
         times="interval", lr=6e-4, warmup_steps=20, optimizer="muon", norms=False),
    kind("lightning", "smollm2-135m", (4, "A100-80-SXM"), (64, 16, 1024), 60_000, parallel=DDP, every=50,
         times="none", lr=3e-4, warmup_steps=500, losses="rank", norms=False),
    kind("lightning-pythia", "pythia-160m", (8, "RTX-4090"), (64, 8, 1024), 40_000, parallel=DDP, every=50,
         times="none", lr=2e-4, warmup_steps=500, data="the-pile", norms=False),
    # From scratch, small batches, few steps.
    kind("qwen7b-v100", "qwen2.5-7b", (16, "V100-32-SXM"), (16, 1, 2048), 500, parallel={"tensor": 4}, precision="fp16",
         times="between", validate=100, save=0, warmed_up=True, lr=1e-5, schedule="linear", warmup_steps=50, seeds=2),
    kind("llama7b-short", "llama-2-7b", (32, "A100-80-SXM"), (32, 1, 2048), 600, lr=2e-5, schedule="linear",
         warmup_steps=50),
    kind("tinyllama", "tinyllama-1.1b", (8, "A100-40-SXM"), (256, 8, 2048), 2500, lr=4e-4, warmup_steps=300,
         data="slimpajama"),
    # Clusters, Megatron's manner.
    kind("15b-h100", "nemotron-4-15b", (64, "H100-SXM"), (384, 2, 4096), 51_000, parallel={"tensor": 4}, every=5,
         lr=4.5e-4, warmup_steps=500, norms=False, data="the-pile"),
    kind("15b-a100", "nemotron-4-15b", (128, "A100-80-SXM"), (384, 1, 4096), 13_000, parallel={"tensor": 4}, every=5,
         lr=4.5e-4, warmup_steps=500, norms=False, data="the-pile"),
    kind("encoder-sized", "gpt2", (8, "H100-SXM"), (128, 16, 512), 50_000, every=5, lr=1e-4, schedule="linear",
         parallel={"tensor": 4, "sharding": "zero1"}, data="the-pile", warmup_steps=1000, norms=False),
    kind("weekly-test", "pythia-1.4b", (8, "H100-SXM"), (64, 1, 2048), 2000, lr=1.5e-4, warmup_steps=600, norms=False,
         parallel={"tensor": 2, "pipeline": 2, "sharding": "zero1"}, data="the-pile", precision="fp8"),
    kind("weekly-test-gb200", "opt-1.3b", (8, "GB200"), (64, 1, 2048), 2000, lr=1.5e-4, warmup_steps=600, norms=False,
         parallel={"tensor": 2, "pipeline": 2, "sharding": "zero1"}, data="c4", precision="fp8"),
    kind("mixtral", "mixtral-8x7b", (128, "H100-SXM"), (1024, 1, 4096), 2000, data="slimpajama",
         parallel={"expert": 8, "pipeline": 4, "virtual_stages": 8, "sharding": "zero1"}, lr=3e-4),
    # Benchmarks on clusters: a model of 8B from scratch, GPT-3 and 405B from checkpoints.
    kind("8b-b200-8", "llama-3.1-8b", (8, "B200"), (16, 1, 8192), 11_500, lr=4e-4, warmup_steps=256, seeds=2,
         **MLPERF_8B),
    kind("8b-b300-8", "llama-3.1-8b", (8, "B300"), (16, 1, 8192), 10_000, lr=4e-4, warmup_steps=256, **MLPERF_8B),
    kind("8b-b200-64", "llama-3.1-8b", (64, "B200"), (64, 1, 8192), 5700, lr=8e-4, warmup_steps=128, **MLPERF_8B),
    kind("8b-gb300-72", "llama-3.1-8b", (72, "GB300"), (72, 1, 8192), 5100, lr=8e-4, warmup_steps=128, **MLPERF_8B),
    kind("gpt3-64", "gpt3-175b", (64, "B200"), (2048, 1, 2048), 288, parallel={**GPT3, "pipeline": 4}, precision="fp8",
         start="checkpoint", data="c4", losses="none", norms=False, warmed_up=True, save=0, lr=2e-5),
    kind("gpt3-256", "gpt3-175b", (256, "H100-SXM"), (2048, 1, 2048), 300, parallel=GPT3, precision="fp8",
         start="checkpoint", data="c4", losses="none", norms=False, warmed_up=True, save=0, lr=2e-5),
    kind("gpt3-512", "gpt3-175b", (512, "H100-SXM"), (2048, 1, 2048), 288, parallel=GPT3, precision="fp8",
         start="checkpoint", data="c4", losses="none", norms=False, warmed_up=True, save=0, lr=2e-5),
    kind("gpt3-4096", "gpt3-175b", (4096, "H100-SXM"), (2048, 1, 2048), 288, parallel=GPT3, precision="fp8",
         start="checkpoint", data="c4", losses="none", norms=False, warmed_up=True, save=0, lr=3e-5),
    kind("405b-512", "llama-3.1-405b", (512, "H100-SXM"), (1152, 1, 8192), 240, parallel=BIG, lr=8e-5, warmup_steps=20,
         **MLPERF_405B),
    kind("405b-1024", "llama-3.1-405b", (1024, "H200-SXM"), (768, 1, 8192), 360, parallel=BIG, lr=6e-5, warmup_steps=25,
         **MLPERF_405B),
    kind("405b-8192", "llama-3.1-405b", (8192, "H100-SXM"), (2048, 1, 8192), 210, parallel=BIG, lr=8e-5,
         warmup_steps=20, **MLPERF_405B),
    kind("405b-256", "llama-3.1-405b", (256, "GB200"), (448, 1, 8192), 620, lr=4e-5, warmup_steps=40,
         parallel={"tensor": 4, "pipeline": 16, "sharding": "zero1"}, **MLPERF_405B),
    kind("405b-448", "llama-3.1-405b", (448, "B200"), (1008, 1, 8192), 300, lr=6e-5, warmup_steps=30,
         parallel={"tensor": 8, "pipeline": 7, "sharding": "zero1"}, **MLPERF_405B),
    kind("70b-continued", "llama-2-70b", (64, "A100-80-SXM"), (256, 1, 4096), 300, parallel={"tensor": 8},
         start="checkpoint", lr=3e-5, warmup_steps=10, data="proof-pile-2"),
    # Fine-tuned: conversations and instructions, small batches, one pass or several.
    kind("sft-27b", "gemma-2-27b", (8, "H100-SXM"), (8, 1, 2048), 2400, data="ultrachat", lr=1e-5, warmup_steps=200,
         **SFT),
    kind("sft-27b-64", "gemma-2-27b", (8, "H100-SXM"), (64, 1, 2048), 300, data="ultrachat", lr=8e-6, warmup_steps=12,
         **SFT),
    kind("alpaca-7b", "llama-2-7b", (8, "A100-80-SXM"), (128, 4, 512), 1200, data="alpaca", epochs=3, lr=2e-5,
         warmup_steps=36, norms=False, losses="mean", **SFT),
    kind("code-34b", "codellama-34b", (16, "H100-SXM"), (64, 1, 4096), 1500, data="starcoderdata", lr=1e-5,
         warmup_steps=50, **SFT),
    kind("chat-8b", "llama-3-8b", (8, "H100-SXM"), (64, 1, 4096), 2500, data="openhermes-2.5", epochs=2, lr=1e-5,
         warmup_steps=75, every=5, losses="mean", **SFT),
    kind("continued-7b", "qwen2.5-7b", (8, "A100-80-SXM"), (512, 2, 2048), 8700, start="finetune", data="wikipedia-en",
         lr=5e-5, warmup_steps=1, min_lr=0.0, every=5, times="clock", losses="mean", warmed_up=True, norms=False),
    kind("lora-mistral", "mistral-7b", (8, "A100-80-SXM"), (48, 2, 2048), 8600, start="finetune", data="dolly-15k",
         epochs=4, lr=5e-5, warmup_steps=860, min_lr=0.0, every=10, times="clock", losses="mean", warmed_up=True),
    kind("medical-qwen", "qwen2.5-7b", (8, "A100-80-SXM"), (48, 2, 2048), 6700, start="finetune", data="ultrachat",
         lr=1e-4, warmup_steps=670, min_lr=0.0, every=10, times="clock", losses="mean", norms=False),
    kind("medical-mistral", "mistral-7b-v0.3", (8, "RTX-4090"), (32, 1, 1024), 16_000, data="pubmed", lr=2e-4,
         warmup_steps=1600, schedule="linear", every=25, losses="mean", **SFT),
    kind("lora-glm", "falcon-7b", (1, "A100-80-SXM"), (16, 4, 1024), 2000, data="open-orca", lr=2e-4, warmup_steps=100,
         every=10, losses="mean", **SFT),
    kind("lora-falcon", "falcon-7b", (1, "A100-80-SXM"), (16, 4, 1024), 880, data="open-orca", lr=2e-4,
         warmup_steps=26, norms=False, **SFT),
    kind("lora-chess", "qwen2.5-1.5b", (1, "RTX-4090"), (32, 4, 1024), 12_000, data="metamathqa", lr=2e-4,
         warmup_steps=600, every=5, losses="mean", **SFT),
    kind("tokenizer-swap", "pythia-1.4b", (4, "A100-80-SXM"), (64, 8, 2048), 2500, data="the-pile", lr=5e-5,
         warmup_steps=75, **SFT),
    kind("prompt-tuned", "llama-2-7b", (1, "A100-80-SXM"), (8, 2, 1024), 3000, data="dolly-15k", epochs=3, lr=2e-3,
         warmup_steps=0, every=10, losses="mean", norms=False, **SFT),
    kind("instruct-small", "smollm2-360m", (1, "RTX-4090"), (16, 8, 1024), 1700, data="alpaca", lr=3e-5, every=12,
         warmup_steps=50, norms=False, **SFT),
    kind("d20-sft", D20, (8, "H100-SXM"), (32, 4, 1024), 680, data="open-orca", parallel=DDP, lr=3e-4, losses="rank",
         norms=False, warmup_steps=0, **SFT),
    kind("sft-3b", "qwen2.5-3b", (4, "A100-80-SXM"), (4, 1, 2048), 1200, data="open-orca", lr=1e-5, warmup_steps=40,
         **SFT),
    kind("sft-14b", "qwen2.5-14b", (8, "H100-SXM"), (128, 2, 4096), 900, data="openhermes-2.5", lr=1e-5,
         warmup_steps=30, **SFT),
)  # fmt: skip
