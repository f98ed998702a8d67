"""The report of a run: one page that holds its figures, and that loads nothing."""

from __future__ import annotations

import importlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import Played, Train


class Page(HTMLParser):
    """The elements of a page: identifiers, references, and the text of its pairs of terms and descriptions."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.facts: dict[str, str] = {}
        self.titles: list[str] = []
        self._tag = self._term = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and value:
                self.references.append(value)

    def handle_data(self, data: str) -> None:
        if self._tag == "dt":
            self._term = data
        elif self._tag == "dd":
            self.facts[self._term] = data
        elif self._tag == "strong":
            self.titles.append(data)
        self._tag = ""


@pytest.fixture(scope="module", autouse=True)
def drawing_is_imported() -> None:
    """Import matplotlib once, for all that is forked here."""
    importlib.import_module("matplotlib.figure")
    importlib.import_module("matplotlib.backends.backend_svg")


@pytest.fixture(scope="module")
def page(small: Played, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of the small run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    done = train("report", str(small.directory), "--out", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: the report of {small.directory}\n"
    return Page(path.read_text())


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    assert page.references
    assert all(reference.startswith(("#", "data:")) for reference in page.references)


def test_pictures_do_not_share_identifiers(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= set(page.ids)


def test_the_figures_are_those_of_the_summary(page: Page, small: Played) -> None:
    events = [json.loads(line) for line in (small.directory / "metrics.jsonl").read_text().splitlines()]
    summary = events[-1]
    assert summary["event"] == "summary"
    assert page.facts["tokens"].endswith(f"({summary['tokens']:,})")
    assert page.facts["loss"].startswith(f"{summary['final_loss']:.4f} ")
    assert page.facts["best validation"].startswith(f"{summary['best_loss']:.4f} ")
    assert page.facts["throughput"].startswith(f"{summary['mean_tokens_per_s']:,.0f} tokens/s")
    hours = summary["gpus"] * summary["total_time_s"] / 3600
    assert page.facts["cost"] == f"{hours:,.1f} GPU-hours, ${hours * 2.5:,.0f} at $2.5 each"


def test_every_picture_has_its_place(page: Page) -> None:
    assert page.titles == [
        "Loss and perplexity", "Learning rate and gradient norm", "Throughput", "Time of a step", "What happened when",
        "Memory of the fullest GPU", "Temperature of every GPU", "Power of every GPU", "Where the time of a step goes",
        "Where the memory goes", "Who talks to whom",
    ]  # fmt: skip


def test_a_run_writes_the_same_page_when_it_ends(train: Train, tmp_path: Path) -> None:
    run = ("--config", "debug", "--speed", "max", "--start-time", "2026-01-31T09:30:00", "--max-steps", "12")
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    assert train(*run, "--report", str(one), "--output-dir", str(tmp_path / "out")).returncode == 0
    assert train("report", str(tmp_path / "out"), "-o", str(other)).returncode == 0
    assert one.read_text() == other.read_text()


def test_a_plan_alone_has_a_page(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "plan.html"
    shown = train("--config", "llama405b", "--plan")
    assert train("--config", "llama405b", "--plan", "--report", str(path)).stdout == shown.stdout
    page = Page(path.read_text())
    assert page.titles[-1] == "The pipeline"
    rate = re.search(r"([\d,]+) tokens/s", shown.stdout)
    assert rate and rate[0] in page.facts["step"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere"], "report: nowhere nowhere/metrics.jsonl can't be read: No such file or directory. "),
        (["report", ".", "-o", "no/such.html"], "--out: no/such.html can't be written: its directory does not exist. "),
        (["--config", "debug", "--report", "."], "--report: . is a directory. "),
    ],
)
def test_mistakes_say_the_way_out(train: Train, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = train(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert not list(tmp_path.iterdir())
