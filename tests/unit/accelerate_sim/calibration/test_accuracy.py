"""Predictions against measured runs: as close as is claimed, and the claims are what the command prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelerate_sim.calibration.accuracy import Comparison, Errors, compared, ranked_pairs
from accelerate_sim.calibration.report import row_lines, summary_markdown, totals
from accelerate_sim.calibration.run_table import read_runs
from tests.support.repository import ROOT

OWN = ROOT / "tests" / "reference" / "measured_runs.csv"
OPEN = ROOT.parent / "shared" / "reference" / "physics" / "open_reference_runs.csv"
"""All published runs; not part of the project."""
CLAIMS = (ROOT / "accelerate_sim" / "calibration" / "ACCURACY.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

needs_open_runs = pytest.mark.skipif(not OPEN.exists(), reason="the table of all published runs is not here")


def used(path: Path) -> list[Comparison]:
    runs = read_runs(path).runs
    return compared([run for run in runs if run.usable])


def rows(text: str, columns: int) -> list[list[str]]:
    """The first cells of a markdown table's lines."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")][:columns]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]


@pytest.fixture(scope="module")
def own() -> list[Comparison]:
    return used(OWN)


@pytest.fixture(scope="module")
def published() -> list[Comparison]:
    return used(OPEN)


def test_the_selection_is_within_the_goals(own: list[Comparison]) -> None:
    errors = totals(own)
    assert errors["speed, dense"].median <= 0.04
    assert errors["speed, dense"].p90 <= 0.12
    assert abs(errors["speed, dense"].bias) <= 0.03
    assert errors["speed, experts"].median <= 0.20
    assert errors["memory"].median <= 0.05


def test_the_table_of_the_selection_is_what_the_command_prints(own: list[Comparison]) -> None:
    section = CLAIMS.split("## The runs that come with the project")[1].split("## What is off")[0]
    assert rows(section, 5) == rows("\n".join(summary_markdown(own)), 5)


def test_runs_that_took_place_and_are_predicted_not_to_fit_are_counted(own: list[Comparison]) -> None:
    """All of them fitted; the few that are left do not say what their recipes recompute or offload."""
    misfits = [one for one in own if not one.fits]
    assert summary_markdown(own)[-1] == f"Predicted not to fit, though they ran: {len(misfits)} of {len(own)}."
    assert sum("(predicted not to fit)" in line for line in row_lines(own)) == len(misfits) > 0
    assert len(misfits) <= 0.05 * len(own)


@needs_open_runs
def test_all_published_runs_are_within_the_goals(published: list[Comparison]) -> None:
    errors = totals(published)
    assert errors["speed, dense"].median <= 0.04
    assert errors["speed, dense"].p90 <= 0.12
    assert errors["speed, experts"].median <= 0.20
    assert errors["memory"].median <= 0.05
    verdicts = [right for *_, right in ranked_pairs(published)]
    assert sum(verdicts) / len(verdicts) >= 0.92


@needs_open_runs
def test_the_table_of_all_runs_is_what_the_command_prints(published: list[Comparison]) -> None:
    section = CLAIMS.split("## 395 published runs")[1].split("## The runs that come")[0]
    printed = "\n".join(summary_markdown(published))
    assert rows(section, 5) == rows(printed, 5)
    assert all(line in section for line in printed.splitlines()[-2:])


def test_the_readme_repeats_the_table() -> None:
    section = CLAIMS.split("## 395 published runs")[1].split("## The runs that come")[0]
    claimed = [row[1:] for row in rows(section, 6) if row[0].startswith(("speed", "memory"))]
    repeated = [row[1:] for row in rows(README.split("### Speed and memory")[1].split("\n### ")[0], 6)][1:]
    assert repeated == claimed
    printed = re.search(r"Printed at (commit [0-9a-f]{7,} of \d{4}-\d\d-\d\d)\.", section)
    assert printed and f"At {printed[1]}" in README
    pairs = re.search(r"ranked right: (.*)\.", section)
    assert pairs and pairs[1] in README


def test_errors_are_sizes_and_a_signed_mean() -> None:
    errors = Errors.of([-0.2, 0.1, 0.1, 0.4])
    assert (errors.count, errors.median, errors.bias) == (4, pytest.approx(0.15), pytest.approx(0.1))
    assert errors.p90 == pytest.approx(0.34)
    assert Errors.of([-0.3]) == Errors(1, 0.3, 0.3, -0.3)


def test_pairs_are_of_one_model_and_differ_in_one_setting(own: list[Comparison]) -> None:
    for one, other, _ in ranked_pairs(own):
        assert one.run.name == other.run.name
        changed = {name for name in one.run.knobs if one.run.knobs[name] != other.run.knobs[name]}
        assert len(changed) == 1 or changed == {"n_gpus", "global_batch"}
