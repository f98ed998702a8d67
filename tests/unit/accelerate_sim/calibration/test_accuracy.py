"""Predictions against measured runs: as close as is claimed, and the claims are what the command prints."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from accelerate_sim.calibration.accuracy import Comparison, Errors, compared, ranked_pairs
from accelerate_sim.calibration.report import row_lines, summary_markdown, totals
from accelerate_sim.calibration.run_table import read_runs
from tests.support.repository import ROOT

OWN = ROOT / "tests" / "reference" / "measured_runs.csv"
FITTED = [
    ROOT / "tests" / "reference" / f"{name}_runs{half}.csv"
    for name, half in (("published", ""), ("tuning", ""), ("tuning", "_2"), ("tuning", "_3"), ("judging", ""),
                       ("judging", "_2"), ("hybrid", ""))
]  # fmt: skip
"""Runs that the constants are fitted to; the first two judging tables judged until November 2026."""
NOT_FITTED = ("judging_runs_3.csv", "later_releases.csv")
CLAIMS = (ROOT / "accelerate_sim" / "calibration" / "ACCURACY.md").read_text(encoding="utf-8")
PAGE = (ROOT / "accelerate_sim/calibration/README.md").read_text(encoding="utf-8")


def used(*paths: Path) -> list[Comparison]:
    runs = [run for path in paths for run in read_runs(path).runs]
    return compared([run for run in runs if run.usable])


def section(name: str) -> str:
    """The page's figures for a table of runs."""
    return CLAIMS.split(f"<!-- printed of {name} -->")[1].split("<!-- end -->")[0]


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
    return used(*FITTED)


def test_the_selection_is_within_the_goals(own: list[Comparison]) -> None:
    errors = totals(own)
    assert errors["speed, dense"].median <= 0.04
    assert errors["speed, dense"].p90 <= 0.12
    assert abs(errors["speed, dense"].bias) <= 0.03
    assert errors["speed, experts"].median <= 0.20
    assert errors["memory"].median <= 0.05


def test_the_table_of_the_selection_is_what_the_command_prints(own: list[Comparison]) -> None:
    assert rows(section(OWN.name), 5) == rows("\n".join(summary_markdown(own)), 5)


def test_runs_that_took_place_and_are_predicted_not_to_fit_are_counted(own: list[Comparison]) -> None:
    """All of them fitted; the few that are left do not say what their recipes recompute or offload."""
    tight = [one for one in own if not one.fits]
    beyond = [one for one in tight if not one.may_fit]
    counted = f"{len(beyond)} of {len(own)}; {len(tight) - len(beyond)} more are uncertain."
    assert summary_markdown(own)[-1] == f"Predicted not to fit, though they ran: {counted}"
    assert sum("(predicted not to fit)" in line for line in row_lines(own)) == len(beyond)
    assert sum("(may not fit)" in line for line in row_lines(own)) == len(tight) - len(beyond)
    assert 0 < len(tight) <= 0.05 * len(own)


def test_all_published_runs_are_within_the_goals(published: list[Comparison]) -> None:
    errors = totals(published)
    assert errors["speed, dense"].median <= 0.04
    assert errors["speed, dense"].p90 <= 0.12
    assert errors["speed, experts"].median <= 0.20
    assert errors["memory"].median <= 0.08
    assert totals(used(*FITTED[:3]))["memory"].median <= 0.05
    verdicts = [right for *_, right in ranked_pairs(published)]
    assert sum(verdicts) / len(verdicts) >= 0.92


def test_the_table_of_all_runs_is_what_the_command_prints(published: list[Comparison]) -> None:
    """The fit's columns; those of families left out take minutes to compute."""
    claimed = section(" ".join(path.name for path in FITTED))
    printed = "\n".join(summary_markdown(published))
    assert [[*row[:2], *row[5:]] for row in rows(claimed, 8)][1:] == rows(printed, 5)[1:]
    assert all(line in claimed for line in printed.splitlines()[-2:])


@pytest.mark.parametrize("name", NOT_FITTED)
def test_the_tables_of_runs_that_were_not_fitted_are_what_the_command_prints(name: str) -> None:
    printed = summary_markdown(used(ROOT / "tests" / "reference" / name))
    assert rows(section(name), 5) == rows("\n".join(printed), 5)
    assert all(line in section(name) for line in printed[-2:])


def test_no_run_is_in_two_halves() -> None:
    names = [run.row_id for path in FITTED for run in read_runs(path).runs]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("tables", "heading"), [(2, "SHA-256"), (3, "## Third tables")])
def test_sources_were_dealt_by_the_rule_that_the_page_states(tables: int, heading: str) -> None:
    """The first digit of the SHA-256 of a source's name decides, and the tables have as many runs as it says."""
    page = (OWN.parent / "README.md").read_text(encoding="utf-8")
    dealt = rows(page.split(heading)[1].split("\n## ")[0], 4)[1:]
    runs = {"tuning": 0, "judging": 0}
    for source, digit, half, count in dealt:
        assert digit == sha256(source.encode()).hexdigest()[0]
        assert half == ("judging" if int(digit, 16) % 2 else "tuning")
        runs[half] += int(count)
    assert runs == {
        half: len(OWN.with_name(f"{half}_runs_{tables}.csv").read_text(encoding="utf-8").splitlines()) - 1
        for half in runs
    }


def test_rows_that_are_no_measure_have_a_table_of_their_own() -> None:
    """They are neither fitted nor counted, and their errors are on the page."""
    runs = [run for path in FITTED for run in read_runs(path).runs if not run.usable]
    claimed = section(" ".join(path.name for path in FITTED) + ", marked")
    printed = summary_markdown(compared(runs))
    assert rows(claimed, 5) == rows("\n".join(printed), 5) and printed[-1] in claimed
    assert "torchao" in claimed and len(runs) == int(rows(claimed, 2)[-3][1]) + int(rows(claimed, 2)[-2][1])


def test_runs_of_the_judging_half_are_not_refused() -> None:
    judged = used(OWN.with_name("judging_runs.csv"))
    assert all(one.may_fit for one in judged)
    errors = totals(judged)
    assert errors["speed, dense"].median <= 0.08 and errors["speed, experts"].median <= 0.25
    assert errors["memory"].median <= 0.08


def test_the_page_for_users_repeats_the_table() -> None:
    """Families left out first; the fit's median beside."""
    claimed = section(" ".join(path.name for path in FITTED))
    of_totals = [row[1:] for row in rows(claimed, 6) if row[0].startswith(("speed", "memory"))]
    judged = [
        [row[1], *row[2:5], ""]
        for name in NOT_FITTED
        for row in rows(section(name), 5)
        if row[0].startswith(("speed", "mem"))
    ]
    speed_and_memory = PAGE.split("## Speed and memory")[1].split("\n## ")[0]
    assert [row[1:] for row in rows(speed_and_memory, 6)][1:] == [*of_totals, *judged]
    printed = re.search(r"Printed at (commit [0-9a-f]{7,} of \d{4}-\d\d-\d\d)\.", claimed)
    assert printed and f"At {printed[1]}" in PAGE
    pairs = re.search(r"ranked right: (.*)\.", claimed)
    assert pairs and pairs[1] in PAGE


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
