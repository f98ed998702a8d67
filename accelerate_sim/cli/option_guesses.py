"""The way out for unknown options and words: a guess at the intended one.

The module is loaded only after such a mistake.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches

from accelerate_sim.config.problems import shorten

GUESSES = {
    "--set model=NAME": ("model-name", "model-name-or-path", "llm", "arch"),
    "--set cluster.nodes=N": ("nodes", "nnodes", "num-nodes", "n-nodes", "machines", "num-machines", "hosts"),
    "--set cluster.gpus_per_node=N": ("nproc-per-node", "gpus-per-machine", "num-gpus-per-node"),
    "--set cluster.gpu=NAME": ("gpu-type", "gpu-name", "accelerator", "device", "hardware"),
    "--set data.dataset=NAME": ("data", "dataset-name", "corpus", "data-path"),
    "--set train.global_batch=N": ("batch", "bs", "batchsize"),
    "--set train.sequence_length=N": ("seq", "seqlen", "context-length", "block-size", "max-length"),
    "--set train.epochs=N": ("epoch", "num-epochs", "n-epochs"),
    "--set train.precision=bf16": ("bf16", "fp16", "fp8", "mixed-precision", "amp", "half"),
    "--set train.batch_ramp='{start: N, increment: N, samples: N}'": ("rampup-batch-size", "batch-size-rampup"),
    "--set parallel.sharding=fsdp": ("fsdp", "zero", "zero-stage", "ddp", "deepspeed"),
    "--set parallel.tensor=N": ("tensor-model-parallel-size", "tensor-parallel-size", "tensor-parallel"),
    "--set parallel.pipeline=N": ("pipeline-model-parallel-size", "pipeline-parallel-size", "pipeline-parallel"),
    "--set parallel.context=N": ("context-parallel-size", "context-parallel"),
    "--set parallel.expert=N": ("expert-model-parallel-size", "expert-parallel-size", "expert-parallel"),
    "--set checkpoint.every=N": ("save-interval", "save-every", "save-steps", "checkpoint-every"),
    "--set log.every=N": ("log-interval", "log-every", "logging-steps", "print-freq"),
    "--set eval.every=N": ("eval-interval", "eval-every", "eval-steps", "val-every"),
    "--set log.prometheus_address=HOST:PORT": ("port", "prometheus-port", "address"),
    "--max-steps N": ("steps", "step", "num-steps", "n-steps", "iters", "iterations", "max-iters", "limit"),
    "--speed max": ("fast", "fastest", "quick", "turbo", "no-wait", "nowait", "no-delay", "no-sleep", "instant"),
    "--speed 1": ("realtime", "real-time", "slow"),
    "--config FILE|NAME": ("cfg", "conf", "config-file", "config-path", "config-name", "preset", "file", "yaml", "f"),
    "--output-dir DIR": (
        "output", "out", "out-dir", "outdir", "save-dir", "save", "checkpoint-dir", "ckpt-dir", "dir", "work-dir",
        "log-dir", "logdir", "metrics", "project-dir", "d",
    ),
    "--resume auto": ("resume-from-checkpoint", "continue", "restart", "load", "auto-resume", "from-checkpoint"),
    "--log-with NAME": ("tracker", "trackers", "report-to", "logger", "tracking"),
    "--log-with wandb": ("wandb", "use-wandb", "wandb-project"),
    "--log-with tensorboard": ("tensorboard", "tb"),
    "--log-with prometheus": ("prometheus",),
    "--duration 10m": ("time", "timeout", "max-time", "minutes", "seconds", "for", "time-limit"),
    "--runs 0": ("forever", "loop", "infinite", "repeat", "endless"),
    "--runs N": ("num-runs", "count", "times"),
    "--start-time 2026-01-31T09:30:00": ("start", "date", "begin", "now", "clock", "timestamp"),
    "--seed N": ("random-seed", "rng", "rng-seed", "manual-seed"),
    "--plan": ("dry-run", "dryrun", "estimate", "check", "memory", "summary"),
    "--print-config": ("show-config", "dump-config", "print", "keys", "defaults"),
    "--list models": ("models", "list-models", "catalog", "ls"),
    "--list gpus": ("list-gpus",),
    "--list datasets": ("datasets", "list-datasets"),
    "--list configs": ("configs", "list-configs", "presets", "examples"),
    "--record FILE.cast": ("rec", "asciinema", "cast", "gif", "video", "export"),
    "--record-size 120x40": ("size", "columns", "width", "geometry"),
    "--no-progress": ("no-bar", "no-bars", "no-tqdm", "quiet", "q", "silent", "disable-tqdm", "no-progress-bar"),
    "--ascii": ("no-unicode", "plain"),
    "--publish": ("nvidia-smi", "smi", "fake-nvidia-smi"),
    "--help": ("usage", "?", "man"),
    "--version": ("V",),
    "the variable NO_COLOR=1": ("no-color", "no-colour", "color", "nocolor"),
}  # fmt: skip
"""The right option, and the names that other programs give it."""
GPUS = (
    "gpus", "num-gpus", "n-gpus", "ngpus", "world-size", "ranks", "num-processes", "np", "nproc", "devices",
)  # fmt: skip
"""Names that other programs give to the number of all GPUs of a job."""
_VALUE = re.compile(r"\b(?:NAME|N|DIR|FILE(?:\|NAME|\.cast)?|HOST:PORT)\b")


def for_option(word: str, after: Sequence[str], known: Sequence[str]) -> str:
    """The way out for an unknown option; ``after`` are the words that follow it."""
    name, equals, value = word.lstrip("-").partition("=")
    value = value if equals else next((text for text in after[:1] if not text.startswith("-")), "")
    plain = name.lower().replace("_", "-")
    spelled = f"--{plain}"
    if spelled in known:
        return f"Did you mean {spelled}?"
    if plain in GPUS:
        return f"{_cluster_of(value)} --list gpus shows their kinds."
    for meant, others in GUESSES.items():
        if plain in others or name in others:
            return f"Use {_with_value(meant, value)}."
    if key := _key(name):
        return f"Use --set {key}={_quoted(value) or 'VALUE'}."
    close = get_close_matches(spelled, known, n=1, cutoff=0.75)
    return f"Did you mean {close[0]}?" if close else "--help shows all options; --set KEY=VALUE changes any key."


def for_word(word: str) -> str:
    """The way out for a word that follows no option."""
    from accelerate_sim.config.shipped import find_config, shipped_configs

    name, equals, value = word.partition("=")
    if equals and (key := _key(name)):
        return f"Did you mean --set {key}={_quoted(value)}?"
    if word.lower().endswith((".yaml", ".yml")) or os.path.isfile(find_config(word)):
        return f"Did you mean --config {_quoted(word)}?"
    from accelerate_sim import catalog

    if word.lower() in map(str.lower, catalog.model_names()):
        return f"Did you mean --set model={_quoted(word)}?"
    if close := get_close_matches(word, shipped_configs(), n=1):
        return f"Did you mean --config {close[0]}?"
    return "A config goes after --config, a key after --set; --help shows all options."


def _cluster_of(gpus: str) -> str:
    """The options that set a cluster of ``gpus`` GPUs."""
    number = int(gpus) if re.fullmatch(r"[1-9]\d{0,6}", gpus) else 64
    in_each = next(size for size in (8, 4, 2, 1) if number % size == 0)
    return f"Use --set cluster.nodes={number // in_each} --set cluster.gpus_per_node={in_each} for {number} GPUs."


def _with_value(meant: str, value: str) -> str:
    """The option with the typed value in place of its placeholder, if it has exactly one."""
    places = _VALUE.findall(meant)
    return _VALUE.sub(lambda found: _quoted(value), meant) if value and len(places) == 1 else meant


def _key(name: str) -> str:
    """The config key of this name, with or without its section; empty if there is none."""
    from accelerate_sim.config.keys import OTHER_NAMES, all_keys

    plain = name.lower().replace("-", "_")
    names = (plain, OTHER_NAMES.get(plain, plain))
    return next((key for key in all_keys() for each in names if each in (key, key.rpartition(".")[2])), "")


def _quoted(text: str) -> str:
    """A word as it is typed in a shell."""
    plain = shorten(text)
    return plain if re.fullmatch(r"[\w@%+=:,./-]*", plain) else f"'{plain}'"
