"""A kind of run and the manner in which its logger writes values down: which steps, and which loss and time of them."""

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
    """The first step is as fast as others: benchmarks and speed records run their kernels before they begin."""
    work: Work | None = None
    """Cost of steps that no key of a config expresses."""
    begins: int = 0
    """Step at which the log begins: a run that was resumed, whose earlier log is lost."""


def kind(
    name: str, model: str | Raw, gpus: tuple[int, str], batch: tuple[int, int, int], steps: int, *, seeds: int = 1,
    every: int = 1, times: Times = "step", losses: Losses = "step", norms: bool = True, epochs: int = 1,
    parallel: Raw | None = None, data: str = "fineweb", validate: int | str = "epoch", save: int = 500,
    clock_decimals: int = 5, tokenizer: str | None = None, warmed_up: bool = False, work: Work | None = None,
    begins: int = 0, **train: Any,
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
    return Kind(name, raw, seeds, every, times, losses, clock_decimals, norms, warmed_up, work, begins)
