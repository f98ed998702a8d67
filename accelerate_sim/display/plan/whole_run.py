"""The plan's section on the whole run: its duration, part by part, and its energy."""

import numpy as np

from accelerate_sim.display.plan.rows import Fact, Part, Section, plural, si_seconds_text
from accelerate_sim.display.units import duration_text, energy_text, si_text
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.whole_run import WholeRun


def whole_run_section(run: Run) -> Section:
    """An estimate of the time in steps, validations, checkpoints, start-up and export, and of the energy."""
    whole = WholeRun.of(run)

    def part(label: str, seconds: float) -> Part:
        return Part(label, duration_text(seconds), seconds / whole.total_s)

    terms = [
        f"{plural(whole.num_steps, 'step')} × {si_seconds_text(whole.undisturbed_s / whole.num_steps)} "
        f"{whole.steps_s / whole.undisturbed_s - 1.0:+.1%}",
        f"{plural(whole.num_validations, 'validation')} × {si_seconds_text(whole.validation_s)}",
        f"{plural(whole.num_checkpoints, 'checkpoint')} × {si_seconds_text(whole.checkpoint_s)}"
        if whole.num_checkpoints
        else "no checkpoints",
    ]
    return "The whole run (an estimate)", [
        part("steps", whole.steps_s),
        part("validations", whole.validating_s),
        part("checkpoints", whole.saving_s),
        part("start-up, export", whole.other_s),
        part("total", whole.total_s),
        Fact("made of", ", ".join(terms)),
        Fact("disturbed by", _disturbances(run)),
        Fact(
            "energy",
            f"{energy_text(whole.energy_j)} for the GPUs, {si_text(whole.energy_j / whole.total_s, 'W', 2)} on average",
        ),
        *_imposed_curves(run),
    ]


def _disturbances(run: Run) -> str:
    """The disturbances that make all steps together longer than an undisturbed step times their number."""
    first = si_seconds_text(float(run.step_times.seconds(np.arange(1))[0]))
    return f"a first step of {first}, late steps, drifting clocks, slow GPUs, as drawn for seed {run.seed}"


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
