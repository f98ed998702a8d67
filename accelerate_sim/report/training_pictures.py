"""Pictures of the training: loss, learning rate, gradient norm, throughput and step times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.report.drawing import BLUE, GREEN, ORANGE, RED, VIOLET, Picture, legend, whole_numbers
from accelerate_sim.report.history import RunHistory

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOWEST_SHARE = 0.005
"""Share of the step times, but one at least, that the histogram leaves out if they would leave no room for the rest."""
FAR = 1.5
"""A step that takes this many times as long as all others but those of the share is far off."""


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
    whole_numbers(axes.xaxis)
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
    steps = history.line(history.figures("step"))
    rate.plot(steps, history.line(history.figures("lr")), color=VIOLET)
    rate.set_ylabel("learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    norm.plot(steps, history.line(history.figures("grad_norm")), color=GREEN, linewidth=0.8)
    norm.axhline(
        history.run.config.train.max_grad_norm, color=RED, linewidth=0.8, linestyle="--", label="clipped above"
    )
    norm.set_yscale("log")
    norm.set_ylabel("gradient norm")
    norm.set_xlabel("step")
    whole_numbers(norm.xaxis)
    legend(norm)
    return picture.svg()


def throughput_picture(history: RunHistory) -> str:
    """Tokens per second and model FLOPs utilization over time."""
    picture = Picture("throughput", 3.2, rows=2, sharex=True)
    tokens, mfu = picture.all
    time = history.line(history.elapsed_h) * history.unit.per_hour
    tokens.plot(time, history.line(history.figures("tokens_per_s") / 1e3), color=BLUE, linewidth=0.8)
    tokens.set_ylabel("1,000 tokens/s")
    mfu.plot(time, history.line(history.figures("mfu") * 100.0), color=ORANGE, linewidth=0.8)
    mfu.set_ylabel("MFU (%)")
    mfu.set_xlabel(history.time_label)
    return picture.svg()


def step_time_picture(history: RunHistory) -> str:
    """Histogram of the step times, without the slowest few."""
    seconds = history.figures("step_time_s")
    shown = _without_far_ones(seconds)
    picture = Picture("steptimes", 2.6)
    axes = picture.axes
    axes.hist(shown, bins=min(60, max(5, len(shown) // 10)), color=BLUE)
    median = float(np.median(seconds))
    axes.axvline(median, color=ORANGE, label=f"median {median:,.3f} s")
    hidden = len(seconds) - len(shown)
    left_out = f" (not shown: the slowest {hidden:,} of {len(seconds):,}, to {seconds.max():,.4g} s)" if hidden else ""
    axes.set_xlabel(f"seconds a step{left_out}")
    axes.set_ylabel("steps")
    whole_numbers(axes.yaxis)
    legend(axes)
    return picture.svg()


def _without_far_ones(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step times in order, without the slowest few from the first one on that is far off."""
    ordered = np.sort(seconds)
    few = max(1, int(SLOWEST_SHARE * len(ordered)))
    kept, slowest = ordered[:-few], ordered[-few:]
    if not len(kept):
        return ordered
    return np.concatenate([kept, slowest[slowest <= FAR * kept[-1]]])
