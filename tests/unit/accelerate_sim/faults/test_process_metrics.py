"""The samples that faults.jsonl says an exporter has after a fault of processes are those that it has."""

from __future__ import annotations

import operator
from typing import Any

import pytest

from accelerate_sim.faults.attempt_run import AttemptRun
from accelerate_sim.faults.kinds import KINDS
from tests.unit.accelerate_sim.faults.test_conditions import attempt, scrape

STRIKES = (
    "kill rank=2 at=step:8", "kill node=1 signal=SEGV at=step:8", "raise rank=0 at=step:8", "exit rank=1-3 at=step:8",
    "oom gpu=1:1 at=step:8", "hostoom node=0 at=step:8", "hang rank=2 at=step:8", "hang rank=0,3 how=stop at=step:8",
    "hang rank=1 how=io at=phase:eval", "hang rank=0-3 at=step:8", "nodefail node=1 at=step:8",
)  # fmt: skip
COMPARE = {"==": operator.eq, "<": operator.lt, ">": operator.gt}


def holds(claim: dict[str, Any], scraped: dict[str, dict[str, float]]) -> bool:
    value = scraped[claim["name"]].get(f"{claim['labels']['Hostname']}:{claim['labels']['gpu']}")
    if claim["op"] == "absent":
        return value is None
    return value is not None and COMPARE[claim["op"]](value, claim["value"])


def claims_of(run: AttemptRun) -> list[dict[str, Any]]:
    (strike,) = run.attempt.occurrences
    expect = KINDS[strike.fault.kind].expect
    assert expect
    return list(expect(strike)["metrics"])


@pytest.mark.parametrize("words", STRIKES)
def test_each_claim_is_true_of_the_scrape(words: str) -> None:
    run, following = attempt(words), attempt(words, number=1)
    (strike,) = run.attempt.occurrences
    assert strike.ending
    claims = claims_of(run)
    assert claims
    for claim in claims:
        seen_by = following if claim["after_s"] >= strike.ending.after_s else run
        for late_s in (0.5, 15.0):
            assert holds(claim, scrape(seen_by, strike.second + claim["after_s"] + late_s)), claim


@pytest.mark.parametrize("words", STRIKES)
def test_no_claim_about_use_is_true_before_and_long_after(words: str) -> None:
    run, following = attempt(words), attempt(words, number=1)
    (strike,) = run.attempt.occurrences
    before = scrape(run, strike.second - (0.2 if "step" in words else 1.0))
    after = scrape(following, following.attempt.begin_s + 1.0)
    for claim in claims_of(run):
        if claim["name"] != "DCGM_FI_DEV_POWER_USAGE":  # a small model needs no more than a GPU that polls
            if claim["op"] != ">":
                assert not holds(claim, before), claim
            assert claim["op"] == ">" or not holds(claim, after), claim
