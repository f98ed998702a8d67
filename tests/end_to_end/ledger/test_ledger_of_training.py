"""Identities between the numbers of a run, each computed from metrics.jsonl and again from what is printed: the loss,
the learning rate and the summary.
"""

from __future__ import annotations

import math
import re

import pytest

from tests.support.printed_figures import rounded, sum_of, validations
from tests.support.reading import Played, as_interval, count, printed

# --- 1: perplexity and averages -------------------------------------------------------------------


def test_perplexity_is_exp_of_loss(run: Played) -> None:
    """1. In training and in validation."""
    for event in (*run.of("step"), *run.of("eval")):
        assert rounded(event["loss"], 6).exp().agrees(rounded(event["perplexity"], 4))
    pairs = [(line.loss, line.ppl) for line in run.step_lines]
    pairs += [(shown.loss, shown.ppl) for shown in run.bars]
    pairs += [(loss, perplexity) for loss, perplexity, _ in validations(run)]
    pairs += [(run.summary[f"{which} loss"].split()[0], run.summary[f"{which} perplexity"].split()[0])
              for which in ("Final", "Best")]  # fmt: skip
    assert len(pairs) > 20
    for loss, perplexity in pairs:
        assert printed(loss).exp().agrees(printed(perplexity))


def averages(run: Played) -> list[tuple[str, int]]:
    """(average loss as printed, steps) of each epoch."""
    found = run.matches(r"Epoch \d+/\d+ \| average loss (\d+\.\d{4}) over ([\d,]+) steps")
    return [(said[1], count(said[2])) for said in found]


def test_epoch_average_is_the_mean_of_its_losses(run: Played) -> None:
    """1. From the metrics file."""
    epochs = sorted({event["epoch"] for event in run.of("step")})
    assert len(averages(run)) == len(epochs)
    for epoch, (average, steps) in zip(epochs, averages(run), strict=True):
        losses = [event["loss"] for event in run.of("step") if event["epoch"] == epoch]
        assert len(losses) == steps
        assert printed(average).agrees(rounded(sum(losses) / len(losses), 6))


def test_epoch_average_is_the_mean_of_the_printed_losses(chatty: Played) -> None:
    """1. From the text."""
    done = 0
    for average, steps in averages(chatty):
        losses = [printed(line.loss) for line in chatty.step_lines[done : done + steps]]
        assert printed(average).agrees(sum_of(losses) / len(losses))
        done += steps
    assert done == len(chatty.step_lines)


# --- 7: learning rate and gradient norm -----------------------------------------------------------


def scheduled(run: Played, step: int) -> float:
    """The learning rate of a step, counted from 1: warm-up to the peak, then down to the lowest at the last step."""
    train = run.start["config"]["train"]
    peak, lowest, warmup = train["lr"], train["min_lr"], train["warmup_steps"]
    if step <= warmup:
        return float(peak * step / warmup)
    done = (step - warmup) / (train["epochs"] * train["steps_per_epoch"] - warmup)
    shape = {
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "linear": 1 - done,
        "wsd": min(1.0, (1 - done) / 0.2),
    }[train["schedule"]]
    return float(lowest + (peak - lowest) * shape)


def test_learning_rate_is_the_schedules(run: Played) -> None:
    """7."""
    for event in run.of("step"):
        assert event["lr"] == pytest.approx(scheduled(run, event["step"]), rel=1e-9)
    for line in run.step_lines:
        assert re.fullmatch(r"\d\.\d\de-\d\d", line.lr)
        assert printed(line.lr).agrees(scheduled(run, line.step))


def test_gradient_norm_is_told_before_clipping(run: Played) -> None:
    """7. Far above the limit at first, so the norm after clipping is the limit; never zero, never wild."""
    limit = run.start["config"]["train"]["max_grad_norm"]
    norms = [event["grad_norm"] for event in run.of("step")]
    assert norms[0] > 3 * limit
    assert all(0.05 < norm < 60 for norm in norms)
    assert sum(norm > limit for norm in norms[len(norms) // 2 :]) <= len(norms) // 4 or len(norms) < 100
    for line in run.step_lines:
        assert printed(line.grad_norm).agrees(norms[line.step - 1])


# --- 9: the summary -------------------------------------------------------------------------------


def test_summary_repeats_the_runs_own_numbers(run: Played) -> None:
    """9. In the metrics file."""
    summary, steps, evals = run.summary_event, run.of("step"), run.of("eval")
    last, best = steps[-1], min(evals, key=lambda event: event["loss"])
    seconds = sum(event["step_time_s"] for event in steps)
    assert (summary["steps"], summary["epochs"], summary["tokens"]) == (last["step"], last["epoch"], last["tokens"])
    assert (summary["final_loss"], summary["final_perplexity"]) == (last["loss"], last["perplexity"])
    assert (summary["best_loss"], summary["best_perplexity"]) == (best["loss"], best["perplexity"])
    assert summary["mean_tokens_per_s"] == pytest.approx(last["tokens"] / seconds, abs=1e-2)
    per_token = run.start["flops_per_token"] / (run.start["world_size"] * run.start["peak_flops_per_gpu"])
    assert summary["mean_mfu"] == pytest.approx(summary["mean_tokens_per_s"] * per_token, abs=1e-6)
    utilization = [sum(event["utilization_pct"]) / len(event["utilization_pct"]) for event in run.stepping_gpus]
    assert summary["mean_gpu_utilization_pct"] == pytest.approx(sum(utilization) / len(utilization), abs=0.006)
    peak = max(max(event["memory_used_bytes"]) for event in run.of("gpu"))
    assert summary["peak_memory_bytes"] == max(peak, *(event["memory_used_bytes"] for event in steps))
    assert summary["export_bytes"] == run.of("export")[0]["bytes"]
    assert summary["export_path"] == run.of("export")[0]["path"]


def test_printed_summary_repeats_what_was_printed(chatty: Played) -> None:
    """9. On the screen."""
    table, last = chatty.summary, chatty.step_lines[-1]
    assert (table["Final loss"], count(table["Steps"])) == (last.loss, last.step)
    best = min(validations(chatty), key=lambda said: float(said[0]))
    assert (table["Best loss"].split()[0], table["Best perplexity"].split()[0]) == best[:2]
    tokens = count(chatty.match(r"Batch: .* \| ([\d,]+) tokens a step")[1])
    assert count(table["Tokens"].split("(")[1].rstrip(")")) == last.step * tokens
    stepping = sum_of([as_interval(tokens) / printed(line.rate) for line in chatty.step_lines])
    assert (as_interval(last.step * tokens) / stepping).agrees(printed(table["Throughput"].split()[0]))
    most = max(cell[1] for grid in chatty.grids for cell in grid.cells)
    assert table["Peak memory"] == f"{most:.1f} GiB"
