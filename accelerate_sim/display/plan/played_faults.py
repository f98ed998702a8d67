"""The plan's section on faults that happen: each attempt of the job, what strikes in it, and what follows."""

from collections.abc import Iterator

from accelerate_sim.display.plan.rows import Fact, Section
from accelerate_sim.display.units import duration_text
from accelerate_sim.faults.occurrence import Attempt, Occurrence
from accelerate_sim.faults.planned import schedule_of
from accelerate_sim.sim.run import Run

STRIKES_SHOWN = 40


def played_section(run: Run) -> Section:
    """The section for a run in which faults happen."""
    restarts = run.config.faults.restarts
    schedule = schedule_of(run, restarts)
    attempts = list(schedule.attempts())
    struck = {strike.fault.id for attempt in attempts for strike in attempt.occurrences}
    rows = [row for attempt in attempts for row in _rows(attempt)]
    shown: list[Fact] = rows[:STRIKES_SHOWN]
    if len(rows) > STRIKES_SHOWN:
        shown.append(Fact("", f"and {len(rows) - STRIKES_SHOWN:,} more"))
    never = [fault.id for fault in schedule.faults if fault.id not in struck]
    if never:
        more = f" and {len(never) - 5:,} more" if len(never) > 5 else ""
        shown.append(Fact("never comes", f"{', '.join(never[:5])}{more}: the job is over before"))
    return "Faults that happen", [*shown, Fact("in all", _sum(attempts, restarts))]


def _rows(attempt: Attempt) -> Iterator[Fact]:
    label = f"attempt {attempt.number + 1}"
    if not attempt.occurrences:
        yield Fact(label, "nothing strikes")
    for strike in attempt.occurrences:
        second = strike.second
        moment = duration_text(second) if second >= 0 else f"{duration_text(-second)} before the first step"
        when = f"step {strike.step:,} ({strike.phase}, {moment})"
        yield Fact(label, f"{when}: {strike.fault.id}, {_where(strike)}: {_then(attempt, strike)}")
        label = ""


def _where(strike: Occurrence) -> str:
    ranks, nodes = strike.hit.ranks, strike.hit.nodes
    if nodes:
        return "node " + _listed(nodes)
    return "rank " + _listed(ranks) if ranks else " ".join(map(str, strike.fault.targets))


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers[:4])) + (f" and {len(numbers) - 4} more" if len(numbers) > 4 else "")


def _then(attempt: Attempt, strike: Occurrence) -> str:
    if strike.ending is None:
        last = min(strike.last_step, strike.run.last_step)
        return f"until step {last:,}" if last > strike.step else "the job goes on"
    if not attempt.goes_on:
        return "the job ends with exit code 1"
    lost = attempt.completed - (attempt.saved[-1] if attempt.saved else 0)
    whence = f"after step {attempt.saved[-1]:,}" if attempt.saved else "from the beginning"
    return f"the job goes on {whence}, {lost:,} step{'s' * (lost != 1)} lost"


def _sum(attempts: list[Attempt], restarts: int) -> str:
    last = attempts[-1]
    lost = sum(each.completed - (each.saved[-1] if each.saved else 0) for each in attempts if each.ended_by)
    end = f"ends after {duration_text(last.end_s)} of steps and pauses"
    used = f"{len(attempts) - 1:,} of {restarts:,} restarts"
    return f"{used}, {lost:,} steps lost; the job {end}{', unfinished' if last.ended_by else ''}"
