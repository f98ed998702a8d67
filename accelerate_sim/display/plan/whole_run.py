"""The plan's section on the whole run: its duration, part by part, and its energy."""

import math

import numpy as np

from accelerate_sim.display.plan.rows import Fact, Part, Section, plural, seconds_text
from accelerate_sim.display.units import duration_text, energy_text, si_text
from accelerate_sim.sim.run import Run

CHECKPOINTS_AVERAGED = 16
"""Checkpoints whose write times are averaged for an estimate of all."""


def whole_run_section(run: Run) -> Section:
    """An estimate of the time in steps, validations, checkpoints, start-up and export, and of the energy."""
    num_checkpoints, num_validations = _num_checkpoints(run), _num_validations(run)
    checkpoint_s = mean_checkpoint_s(run) if num_checkpoints else 0.0
    validation_s = run.config.eval.batches * run.evaluation_batch_s
    undisturbed, stepping = run.expected_s(run.last_step), run.likely_s(run.last_step)
    saving, validating = num_checkpoints * checkpoint_s, num_validations * validation_s
    other = run.startup.total + run.export_times.total
    total = stepping + saving + validating + other
    steps_j = run.expected_steps_j(run.last_step) * stepping / undisturbed
    energy = run.energy_j(steps_j, saving, validating, other)

    def part(label: str, seconds: float) -> Part:
        return Part(label, duration_text(seconds), seconds / total)

    terms = [
        f"{plural(run.last_step, 'step')} × {seconds_text(undisturbed / run.last_step)} "
        f"{stepping / undisturbed - 1.0:+.1%}",
        f"{plural(num_validations, 'validation')} × {seconds_text(validation_s)}",
        f"{plural(num_checkpoints, 'checkpoint')} × {seconds_text(checkpoint_s)}"
        if num_checkpoints
        else "no checkpoints",
    ]
    return "The whole run (an estimate)", [
        part("steps", stepping),
        part("validations", validating),
        part("checkpoints", saving),
        part("start-up, export", other),
        part("total", total),
        Fact("made of", ", ".join(terms)),
        Fact("disturbed by", _disturbances(run)),
        Fact("energy", f"{energy_text(energy)} for the GPUs, {si_text(energy / total, 'W', 2)} on average"),
        *_imposed_curves(run),
    ]


def _disturbances(run: Run) -> str:
    """The disturbances that make all steps together longer than an undisturbed step times their number."""
    first = seconds_text(float(run.step_times.seconds(np.arange(1))[0]))
    return f"a first step of {first}, late steps, drifting clocks, slow GPUs, as drawn for seed {run.seed}"


def _num_checkpoints(run: Run) -> int:
    every = run.config.checkpoint.every
    return run.last_step // every if every else 0


def mean_checkpoint_s(run: Run) -> float:
    """Mean seconds to write one of the first checkpoints; a run without any counts as if each step had one."""
    every, total = run.config.checkpoint.every or 1, run.last_step
    saved = range(every - 1, max(total, every), every)[:CHECKPOINTS_AVERAGED]
    return sum(run.storage.seconds(run.checkpoint_bytes, "checkpoint", step) for step in saved) / len(saved)


def _num_validations(run: Run) -> int:
    """Number of validations: after every epoch, every ``eval.every`` steps, and the last step."""
    total, epoch, every = run.last_step, run.config.train.steps_per_epoch, run.config.eval.every
    number = total // epoch
    if every:
        number += total // every - total // math.lcm(epoch, every)
    return number + (total % epoch != 0 and (not every or total % every != 0))


def _imposed_curves(run: Run) -> list[Fact]:
    """A row on the other imposed figures; none without them."""
    impose, texts = run.config.impose, []
    if impose.utilization_pct:
        texts.append("utilization {:g}–{:g}%".format(*impose.utilization_pct))
    if impose.temperature_c:
        texts.append("temperature {:g}–{:g}°C".format(*impose.temperature_c))
    if impose.first_loss:
        texts.append("loss {:g}–{:g} at first, {:g}–{:g} at last".format(*impose.first_loss, *impose.last_loss))
    return [Fact("imposed", ", ".join(texts), "yellow")] if texts else []
