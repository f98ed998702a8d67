"""Checks that a run ends before the calendar does."""

from accelerate_sim.config.problems import Problem, shown
from accelerate_sim.sim.plan import Plan

LONGEST_YEARS = 1000
"""Most simulated years of steps. The calendar ends 7,000 years after the last year that a run may begin in."""
_YEAR_S = 365.25 * 86400.0


def overlong(plan: Plan) -> Problem | None:
    """The problem with a run that has more steps than fit into LONGEST_YEARS; None if it is shorter."""
    years = plan.last_step * plan.mean_step_s / _YEAR_S
    if years <= LONGEST_YEARS:
        return None
    train = plan.config.train
    reason = f"makes a run of {years:,.0f} years: {plan.last_step:,} steps of {plan.mean_step_s:,.1f} s"
    way_out = f"Use at most {int(plan.last_step * LONGEST_YEARS / years):,} steps in all, e.g. with --max-steps."
    key, related = "train.steps_per_epoch", ("train.epochs", "train.max_steps")
    return Problem.about(key, shown(train.steps_per_epoch), reason, way_out, related)
