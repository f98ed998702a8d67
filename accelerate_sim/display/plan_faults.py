"""What a plan says of failures: how many to expect, what they cost, and how often to save."""

import math

from accelerate_sim.display.plan_sections import Fact, Section
from accelerate_sim.display.units import duration_text
from accelerate_sim.sim.faults import PUBLISHED_RATE, STRAGGLER_LOSS, Faults, Reliability
from accelerate_sim.sim.run import Run

PROBED_CHECKPOINTS = 8
"""Checkpoints whose write times stand for all."""


def faults_section(run: Run) -> Section:
    """Failures at the config's rate; where it asks for none, at the published one, and it says so."""
    config, checkpoint = run.config.faults, run.config.checkpoint
    rate = config.rate or PUBLISHED_RATE
    faults = Faults(run.noise_seed, run.layout.world_size, rate)
    stall_s = sum(run.checkpoint_seconds(step) for step in range(PROBED_CHECKPOINTS)) / PROBED_CHECKPOINTS
    interval_s = checkpoint.every * run.mean_step_s if checkpoint.every else math.inf
    run_s = run.expected_s(run.last_step)
    found = Reliability.of(faults, run_s, interval_s, stall_s, 60.0 * config.restart_minutes)
    source = "faults.rate" if config.rate else "published fleets; this run has none: faults.rate is 0"
    best_steps = max(1, round(found.best_interval_s / run.mean_step_s))
    saved = f"checkpoints every {checkpoint.every:,} steps" if checkpoint.every else "no checkpoints"
    return "Failures", [
        Fact("rate", f"{rate:.1e} per GPU-hour ({source})"),
        Fact("between failures", f"{duration_text(found.mtbf_s)} on {run.layout.world_size:,} GPUs"),
        Fact("expected", f"{_count_text(found.interruptions)} in {duration_text(run_s)} of steps"),
        Fact("goodput", f"{found.goodput:.1%} with {saved}, {config.restart_minutes:g} min to restart"),
        Fact(
            "best interval",
            f"{duration_text(found.best_interval_s)} = {best_steps:,} steps (Young/Daly, {stall_s:.1f} s each): "
            f"{found.best_goodput:.1%}",
        ),
        Fact("stragglers", f"cost published fleets {STRAGGLER_LOSS:.0%} of their GPU-hours beside that"),
    ]


def _count_text(count: float) -> str:
    if count >= 10:
        return f"{count:,.0f} interruptions"
    return f"{count:.2g} interruptions"
