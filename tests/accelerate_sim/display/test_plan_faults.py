"""What a plan says of failures."""

from __future__ import annotations

from typing import Any

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.plan_faults import faults_section
from accelerate_sim.display.plan_sections import Fact
from accelerate_sim.sim.run import Run


def said(**sections: Any) -> dict[str, str]:
    heading, rows = faults_section(Run(RunConfig.model_validate(sections)))
    assert heading == "Failures"
    return {row.label: row.text for row in rows if isinstance(row, Fact)}


def test_a_run_without_faults_says_what_fleets_have() -> None:
    facts = said()
    assert facts["rate"] == "2.0e-05 per GPU-hour (published fleets; this run has none: faults.rate is 0)"
    assert facts["between failures"].endswith("on 64 GPUs")
    assert "3,000" not in facts["goodput"]
    assert "every 500 steps" in facts["goodput"]


def test_a_rate_of_ones_own_is_taken() -> None:
    facts = said(faults={"rate": 1e-3, "restart_minutes": 30})
    assert facts["rate"] == "1.0e-03 per GPU-hour (faults.rate)"
    assert facts["between failures"] == "15:37:30 on 64 GPUs"
    assert "30 min to restart" in facts["goodput"]


def test_a_run_that_never_saves_loses_most() -> None:
    """Its goodput is that of losing half of the run each time."""
    saving, never = (said(faults={"rate": 1e-4}, checkpoint={"every": every})["goodput"] for every in (500, 0))
    assert "every none" not in never
    assert float(never.partition("%")[0]) < float(saving.partition("%")[0])
