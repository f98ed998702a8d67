"""A plan's report of failures."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.plan.expected_failures import faults_section
from accelerate_sim.display.plan.rows import Fact, Section
from accelerate_sim.display.plan.sections import sections_of
from accelerate_sim.sim.disturbances.faults import CAUSES
from accelerate_sim.sim.disturbances.goodput import goodput
from accelerate_sim.sim.run import Run


def run(**sections: Any) -> Run:
    return Run(RunConfig.model_validate(sections))


def facts_of(section: Section) -> list[tuple[str, str]]:
    return [(row.label, row.text) for row in section[1] if isinstance(row, Fact)]


def said(**sections: Any) -> dict[str, str]:
    section = faults_section(run(**sections))
    assert section[0] == "Failures"
    return dict(facts_of(section))


def drawn(**sections: Any) -> list[str]:
    """The lines from "drawn" on that have no label of their own."""
    facts = facts_of(faults_section(run(**sections)))
    first = next(number for number, (label, _) in enumerate(facts) if label == "drawn")
    last = next(number for number, (label, _) in enumerate(facts) if number > first and label)
    return [text for _, text in facts[first:last]]


def share(text: str) -> float:
    """The percentage that a text begins with."""
    return float(text.removeprefix("less than ").partition("%")[0]) / 100


def test_a_run_without_faults_says_what_fleets_have() -> None:
    facts = said()
    assert facts["rate"] == "2.0e-05 per GPU-hour (published fleets; this run has none: faults.rate is 0)"
    assert facts["between failures"].endswith("on 64 GPUs")
    assert "3,000" not in facts["goodput"]
    assert "every 500 steps" in facts["goodput"]
    assert "drawn" not in facts


def test_a_rate_of_ones_own_is_taken() -> None:
    facts = said(faults={"rate": 1e-3, "restart_minutes": 30})
    assert facts["rate"] == "1.0e-03 per GPU-hour (faults.rate)"
    assert facts["between failures"] == "15:37:30 on 64 GPUs"
    assert "30 min to restart" in facts["goodput"]


def test_a_run_that_never_saves_loses_most() -> None:
    """Its goodput is that of losing half of the run each time."""
    saving, never = (said(faults={"rate": 1e-4}, checkpoint={"every": every})["goodput"] for every in (500, 0))
    assert "every none" not in never
    assert share(never) < share(saving)


LARGE = {
    "model": "llama-3.1-405b", "cluster": {"nodes": 2048, "storage_gbytes_per_s": 2000},
    "parallel": {"tensor": 8, "pipeline": 16}, "train": {"global_batch": 2048, "micro_batch": 1},
}  # fmt: skip


def test_frequent_failures_leave_something() -> None:
    """With a failure every seven minutes a run that saves often gets on; one that saves as usual hardly does."""
    facts = said(**LARGE, faults={"rate": 5e-4})
    assert 0 <= share(facts["goodput"]) < 0.05
    best = facts["best interval"].rpartition(": ")[2]
    assert 0.3 < share(best) < 0.6


def test_one_time_to_save() -> None:
    """The same in all sections, and with it the goodput that is shown can be worked out."""
    one = run(faults={"rate": 1e-4})
    files = dict(facts_of(next(section for section in sections_of(one) if section[0] == "Files")))
    facts = dict(facts_of(faults_section(one)))
    stall = re.search(r"about ([\d.]+) s each", files["write time"])
    best = re.search(
        r"= ([\d,]+) steps \(([\d.]+) s each; Young/Daly's first approximation: ([\d,]+)\): ([\d.]+)%",
        facts["best interval"],
    )
    assert stall and best
    assert stall[1] == best[2]
    steps, young = (int(best[number].replace(",", "")) for number in (1, 3))
    interval_s, mtbf_s = steps * one.mean_step_s, 3600 / (1e-4 * 64)
    assert young == pytest.approx((2 * float(stall[1]) * mtbf_s) ** 0.5 / one.mean_step_s, abs=1)
    assert steps <= young
    assert float(best[4]) == pytest.approx(100 * goodput(interval_s, float(stall[1]), 420, mtbf_s), abs=0.06)
    assert said(checkpoint={"every": 0})["best interval"]  # also of a run that does not save


def test_faults_of_the_run_are_listed() -> None:
    """The first few, each with when, where, why and what the driver says; all within the run."""
    lines = drawn(**LARGE, faults={"rate": 5e-4})
    assert lines[-1] == "planned, not played: the run goes on without them"
    steps = []
    for line in lines[:5]:
        found = re.fullmatch(r"step ([\d,]+) \(\d+:\d\d:\d\d\): node(\d+)( GPU [0-7])?, ([\w ]+?)(, Xid (\d+))?", line)
        assert found, line
        cause = next(cause for cause in CAUSES if cause.name == found[4])
        assert int(found[2]) < 2048
        assert bool(found[3]) != cause.whole_node
        assert int(found[6]) in dict(cause.xids) if found[6] else sum(dict(cause.xids).values()) < 1
        steps.append(int(found[1].replace(",", "")))
    assert steps == sorted(steps)
    assert 1 <= steps[0] <= steps[-1] <= 3000
    expected = re.match(r"(\d+) interruptions", said(**LARGE, faults={"rate": 5e-4})["expected"])
    more = re.fullmatch(r"and (\d+) more", lines[5])
    assert expected and more
    assert int(more[1]) + 5 == pytest.approx(int(expected[1]), abs=4 * int(expected[1]) ** 0.5)


def test_no_fault_and_very_many() -> None:
    assert drawn(faults={"rate": 1e-9}) == [
        "none falls into this run",
        "planned, not played: the run goes on without them",
    ]
    assert drawn(faults={"rate": 1.0})[-2:] == [
        "and more than 995 more", "planned, not played: the run goes on without them",
    ]  # fmt: skip


def test_stragglers_are_those_of_this_cluster() -> None:
    """More GPUs wait no less, though their steps are shorter; the share is what the steps of such a run show."""
    small, large = said()["stragglers"], said(**LARGE)["stragglers"]
    assert 0 < share(small) <= share(large) < 0.02  # logs of 2,560 to 10,752 GPUs: levels within 0.4 to 0.9 %
    one = run(**LARGE)
    slowdown = one.incidents.slowdown(np.arange(one.last_step))
    longer = (1 + one.compute_share * (slowdown - 1)).mean()
    assert share(large) == pytest.approx(1 - 1 / longer, abs=0.008)
    expected = re.search(r": ([\d.]+) hot or slow GPUs", large)
    assert expected
    many = float(expected[1])
    assert len(one.incidents.during(0, one.last_step - 1)) == pytest.approx(many, abs=4 * many**0.5)
