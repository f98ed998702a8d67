"""The table of voices, which users extend: each name with its module, its versions, its options and its description.

The config's keys, ``--list``, ``--help`` and error messages are made from it. A new voice is one module in
``accelerate_sim.voices`` and one line of ``VOICES``. Modules are named and not imported here, so that reading a config
loads none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple


class VoiceOption(NamedTuple):
    """An option of the framework that changes its lines; ``log.voice_options`` sets it."""

    default: bool | int | float | str
    help: str
    choices: tuple[int | str, ...] = ()
    """Values that there are; empty: any of the default's type."""


class VoiceEntry(NamedTuple):
    """A voice that ``log.voice`` may name."""

    help: str
    """Description for ``--list voices``."""
    module: str
    """Module whose ``VOICE`` words each kind of record."""
    versions: Mapping[str, str] = {}
    """Difference of each version from the one before it, oldest first. The last one is the default."""
    options: Mapping[str, VoiceOption] = {}
    """Options by their names in ``log.voice_options``."""
    files: tuple[str, ...] = ()
    """Trackers, as ``module:class``, of the files that the framework writes; opened for an output directory."""

    @property
    def newest(self) -> str:
        """The version that a name without one means; empty for a voice without versions."""
        return list(self.versions)[-1] if self.versions else ""


class VoiceChoice(NamedTuple):
    """A voice and one of its versions, as ``log.voice`` and ``--voice`` name them."""

    name: str
    version: str
    """Empty for a voice without versions."""
    entry: VoiceEntry


_FILES = "accelerate_sim.tracking.framework_files."
_PROGRESS = "accelerate_sim.checkpoints.megatron_progress:Progress"
_RESULTS = "accelerate_sim.checkpoints.trainer_results:TrainerResults"
_LEVELS = ("passive", "info", "warning")
_MEGATRON_OPTIONS = {
    "log_throughput": VoiceOption(True, "iteration lines have the throughput per GPU (--log-throughput)"),
    "timing_log_level": VoiceOption(
        0, "with 1, times of the passes and of the optimizer follow each iteration line, with 2 those inside a pass, "
        "too (--timing-log-level)", (0, 1, 2),
    ),
    "timing_log_option": VoiceOption(
        "minmax", "max, minmax or all: the ranks whose times are logged (--timing-log-option)", ("max", "minmax", "all")
    ),
}  # fmt: skip
VOICES = {
    "house": VoiceEntry("fields between bars, after a time and a rank in brackets", "accelerate_sim.voices.house"),
    "kv": VoiceEntry("key=value after a time in RFC 3339 (logfmt): Katib, Loki, mtail", "accelerate_sim.voices.kv"),
    "megatron": VoiceEntry(
        "Megatron-LM's iteration lines, most of them from the last rank", "accelerate_sim.voices.megatron",
        {
            "plain": "no time in front: Megatron-DeepSpeed, GPT-NeoX and other forks",
            "0.15": "times in whole seconds (core 0.5 to 0.15)",
            "0.19": "times in microseconds, also on checkpoint lines; iteration 1 gets a line (core 0.16 and later)",
        },
        _MEGATRON_OPTIONS,
        files=(_PROGRESS,),
    ),
    "hf": VoiceEntry(
        "Hugging Face's Trainer: dictionaries on standard output, a tqdm bar on standard error",
        "accelerate_sim.voices.hf",
        {
            "4": "bare numbers, the loss with 4 decimals (transformers 4.38 to 4.57)",
            "5": "every float is a string of 4 significant digits (transformers 5.0 and later)",
        },
        {
            "log_level": VoiceOption("passive", "info: the banner and the saved checkpoints are logged", _LEVELS),
            "log_metrics": VoiceOption(True, "the table of metrics at the end, as the example scripts print it"),
        },
        files=(_RESULTS,),
    ),
    "mlperf": VoiceEntry(
        "MLPerf Training's :::MLLOG lines, a version for each benchmark", "accelerate_sim.voices.mlperf",
        {
            "llama2_70b_lora": "target loss 0.925, keys of LoRA",
            "llama31_405b": "target loss 5.6, the first checkpoint's step",
            "llama31_8b": "target loss 3.3",
        },
        {
            "submission_org": VoiceOption("simulated", "value of the key submission_org"),
            "submission_division": VoiceOption("closed", "closed or open", ("closed", "open")),
        },
    ),
    "torchtitan": VoiceEntry(
        "torchtitan's steps, in colours also on a pipe", "accelerate_sim.voices.torchtitan",
        {
            "0.1": "on standard error; the loss with 4 decimals, no grad_norm",
            "0.2.2": "on standard output; the loss with 5 decimals, and grad_norm",
        },
        {"disable_color_printing": VoiceOption(False, "no colours (metrics.disable_color_printing)")},
    ),
    "nanogpt": VoiceEntry("nanoGPT's iter and step lines", "accelerate_sim.voices.nanogpt"),
    "deepspeed": VoiceEntry(
        "DeepSpeed's engine: step and throughput lines", "accelerate_sim.voices.deepspeed",
        {"0.16": "prints steps by default", "0.18": "prints steps only with log_level=info (0.17.6 and later)"},
        {"log_level": VoiceOption("", "info or warning; empty: the version's own", ("", "info", "warning"))},
    ),
    "bridge": VoiceEntry(
        "Megatron-Bridge: Megatron-LM's lines with times in seconds, each after a Step Time line",
        "accelerate_sim.voices.bridge",
        options=_MEGATRON_OPTIONS,
        files=(_PROGRESS,),
    ),
    "lightning": VoiceEntry(
        "Lightning's Trainer: a bar for each epoch on standard output, its logger on standard error",
        "accelerate_sim.voices.lightning",
        files=(_FILES + "lightning:CsvLogger",),
    ),
    "nemo": VoiceEntry(
        "NeMo's iteration lines between Lightning's set-up", "accelerate_sim.voices.nemo",
        {"2": "the progress printer of NeMo 2.0 to 2.7"},
        {"flops_callback": VoiceOption(False, "iteration lines have TFLOPS_per_GPU (FLOPsMeasurementCallback)")},
    ),
    "maxtext": VoiceEntry(
        "MaxText's completed steps, from each host", "accelerate_sim.voices.maxtext",
        {
            "2025": "on standard output without a prefix; the line ends with the loss",
            "2026": "on standard error in absl's form; the line ends with the perplexity",
        },
    ),
    "olmo": VoiceEntry("OLMo-core's steps, a record of several lines each", "accelerate_sim.voices.olmo"),
    "llmc": VoiceEntry(
        "llm.c's tables and a line for each step", "accelerate_sim.voices.llmc", files=(_FILES + "llmc:MainLog",)
    ),
    "nanochat": VoiceEntry("nanochat's base training, a line for each step", "accelerate_sim.voices.nanochat"),
    "llamafactory": VoiceEntry(
        "LLaMA-Factory: the Trainer's lines between those of its logger", "accelerate_sim.voices.llamafactory",
        {"4": "with transformers 4", "5": "with transformers 5"},
        {
            "log_level": VoiceOption("info", "info: its banner and the saved checkpoints are logged", _LEVELS),
            "log_metrics": VoiceOption(True, "the table of metrics at the end"),
            "webui": VoiceOption(False, "each log is also printed as the web page's lines are"),
        },
        files=(_RESULTS, _FILES + "llamafactory:TrainerLog"),
    ),
    "axolotl": VoiceEntry(
        "axolotl: the Trainer's dictionaries with more figures, and a logger in colours",
        "accelerate_sim.voices.axolotl",
        {"4": "with transformers 4", "5": "with transformers 5"},
        {
            "log_level": VoiceOption("passive", "info: the Trainer's banner is logged", _LEVELS),
            "log_metrics": VoiceOption(False, "the table of metrics at the end"),
            "no_color": VoiceOption(False, "no colours"),
        },
        files=(_RESULTS,),
    ),
}  # fmt: skip
"""Voices by the names that ``log.voice`` has."""


def voice_choice(text: object) -> VoiceChoice:
    """The voice and the version that ``NAME`` or ``NAME@VERSION`` names.

    ValueError, as ``reason; way out``, if there is no such voice or version.
    """
    name, has_version, version = text.partition("@") if isinstance(text, str) else ("", "", "")
    if name not in VOICES:
        raise ValueError(f"is no voice; {_way_out(name, VOICES)}")
    entry = VOICES[name]
    if not has_version:
        return VoiceChoice(name, entry.newest, entry)
    if not entry.versions:
        raise ValueError(f"names a version, but {name} has none; use {name}")
    if version not in entry.versions:
        known = [f"{name}@{each}" for each in entry.versions]
        raise ValueError(f"is no version of {name}; {_way_out(f'{name}@{version}', known)}")
    return VoiceChoice(name, version, entry)


def voice_options(entry: VoiceEntry, given: Mapping[str, object]) -> dict[str, object]:
    """All options of a voice with their values. ValueError, as ``reason; way out``, for an option it does not have."""
    values: dict[str, object] = {name: option.default for name, option in entry.options.items()}
    for name, value in given.items():
        if name not in values:
            way_out = _way_out(name, values) if values else "the voice has no options"
            raise ValueError(f"holds {name!r:.40}, which is no option of the voice; {way_out}")
        kind = type(values[name])
        fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not fits or (kind is not bool and isinstance(value, bool)):
            raise ValueError(f"holds {name} = {value!r:.40}, which is no {_KINDS[kind]}; use e.g. {values[name]}")
        if (choices := entry.options[name].choices) and value not in choices:
            way_out = f"use one of {', '.join(map(str, choices))}"
            raise ValueError(f"holds {name} = {value!r:.40}, which is no choice; {way_out}")
        values[name] = value
    return values


_KINDS = {bool: "switch (true or false)", int: "whole number", float: "number", str: "text"}


def _way_out(text: str, known: Iterable[str]) -> str:
    """The names that there are, after the one that ``text`` is likely a misspelling of."""
    names = list(known)
    close = get_close_matches(text.lower(), names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'? Known: {', '.join(names)}" if close else f"use one of {', '.join(names)}"
