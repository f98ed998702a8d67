"""Pictures of the training: loss, learning rate, gradient norm, throughput and step times."""

from __future__ import annotations

import numpy as np

from accelerate_sim.report.drawing import BLUE, GREEN, ORANGE, RED, VIOLET, Picture, legend
from accelerate_sim.report.history import RunHistory

SLOWEST_SHOWN = 0.995
"""Share of the step times that the histogram shows; the slowest few would leave no room for the rest."""


def loss_picture(history: RunHistory) -> str:
    """Training and validation loss in nats per token by step, with perplexity on the right."""
    picture = Picture("loss", 2.9)
    axes = picture.axes
    for attempt in np.unique(history.attempts):
        mask = history.attempts == attempt
        axes.plot(
            history.figures("step")[mask], history.figures("loss")[mask], color=BLUE, linewidth=1.0,
            label="train" if attempt == 0 else None, alpha=1.0 if attempt == history.attempts.max() else 0.5,
        )  # fmt: skip
    if history.validations:
        steps, losses = ([each[name] for each in history.validations] for name in ("step", "loss"))
        axes.plot(steps, losses, color=ORANGE, marker="o", markersize=4, label="validation")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    perplexity = axes.secondary_yaxis("right", functions=(lambda x: x, lambda x: x))
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    perplexity.set_yticks(ticks, [f"{np.exp(min(tick, 30.0)):,.{0 if tick > 4.6 else 1}f}" for tick in ticks])
    perplexity.set_ylabel("perplexity")
    legend(axes)
    return picture.svg()


def schedule_picture(history: RunHistory) -> str:
    """Learning rate and gradient norm before clipping, by step."""
    picture = Picture("schedule", 3.2, rows=2, sharex=True)
    rate, norm = picture.all
    steps = history.figures("step")
    rate.plot(steps, history.figures("lr"), color=VIOLET)
    rate.set_ylabel("learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    norm.plot(steps, history.figures("grad_norm"), color=GREEN, linewidth=0.8)
    norm.axhline(
        history.run.config.train.max_grad_norm, color=RED, linewidth=0.8, linestyle="--", label="clipped above"
    )
    norm.set_yscale("log")
    norm.set_ylabel("gradient norm")
    norm.set_xlabel("step")
    legend(norm)
    return picture.svg()


def throughput_picture(history: RunHistory) -> str:
    """Tokens per second and model FLOPs utilization, by hours since the first step."""
    picture = Picture("throughput", 3.2, rows=2, sharex=True)
    tokens, mfu = picture.all
    tokens.plot(history.elapsed_h, history.figures("tokens_per_s") / 1e3, color=BLUE, linewidth=0.8)
    tokens.set_ylabel("1,000 tokens/s")
    mfu.plot(history.elapsed_h, history.figures("mfu") * 100.0, color=ORANGE, linewidth=0.8)
    mfu.set_ylabel("MFU (%)")
    mfu.set_xlabel("hours since the first step")
    return picture.svg()


def step_time_picture(history: RunHistory) -> str:
    """Histogram of the step times, without the slowest few."""
    seconds = history.figures("step_time_s")
    bound = np.quantile(seconds, SLOWEST_SHOWN) if len(seconds) > 200 else np.inf
    shown = seconds[seconds <= bound]
    picture = Picture("steptimes", 2.6)
    axes = picture.axes
    axes.hist(shown, bins=min(60, max(5, len(shown) // 10)), color=BLUE)
    median = float(np.median(seconds))
    axes.axvline(median, color=ORANGE, label=f"median {median:,.3f} s")
    axes.set_xlabel("seconds a step" + (f" (slowest {len(seconds) - len(shown)} of {len(seconds):,} not shown)"
                                        if len(shown) < len(seconds) else ""))  # fmt: skip
    axes.set_ylabel("steps")
    legend(axes)
    return picture.svg()
