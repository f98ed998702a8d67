"""The report of a run: one page that holds its figures, and that loads nothing."""

from __future__ import annotations

import importlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from accelerate_sim.report.history import read_history
from accelerate_sim.report.page import run_facts
from tests.conftest import Train
from tests.support.made_once import made_once


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


RUN = (
    "--config", "debug", "--speed", "max", "--start-time", "2026-01-31T09:30:00", "--set", "log.every=1",
    "--fault", "kill rank=1 at=step:13", "--fault", "slow gpu=0:1 factor=2 at=step:5 for=3steps",
    "--fault", "nan job at=step:12",
)  # fmt: skip
"""Two attempts: the second one begins before the step without a number."""


@pytest.fixture(scope="module")
def played(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the page that a run of 20 steps has written, and with its output directory ``out``."""

    def play(directory: Path) -> Path:
        files = ("--report", str(directory / "page.html"), "--output-dir", str(directory / "out"))
        assert train(*RUN, *files).returncode == 0
        return directory

    return made_once(tmp_path_factory, "run_with_a_report", play)


@pytest.fixture(scope="module")
def page(played: Path) -> Page:
    """The page of that run."""
    return Page((played / "page.html").read_text())


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    assert page.references
    assert all(reference.startswith(("#", "data:")) for reference in page.references)


def test_pictures_do_not_share_identifiers(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= set(page.ids)


def test_the_figures_are_those_of_the_summary(page: Page, played: Path) -> None:
    events = [json.loads(line) for line in (played / "out" / "metrics.jsonl").read_text().splitlines()]
    summary = events[-1]
    assert summary["event"] == "summary"
    assert page.facts["tokens"].endswith(f"({summary['tokens']:,})")
    assert page.facts["loss"].startswith(f"{summary['final_loss']:.4f} ")
    assert page.facts["best validation"].startswith(f"{summary['best_loss']:.4f} ")
    assert page.facts["throughput"].startswith(f"{summary['mean_tokens_per_s']:,.0f} tokens/s")
    hours = summary["gpus"] * summary["total_time_s"] / 3600
    assert page.facts["cost"] == f"{hours:,.3f} GPU-hours, ${hours * 2.5:,.2f} at $2.5 each"


def test_every_picture_has_its_place(page: Page) -> None:
    assert page.titles == [
        "Loss and perplexity", "Learning rate and gradient norm", "Throughput", "Time of a step", "What happened when",
        "Memory of the fullest GPU", "Temperature of every GPU", "Power of every GPU", "Where the time of a step goes",
        "Where the memory goes", "Who talks to whom",
    ]  # fmt: skip


def test_the_command_writes_the_page_that_the_run_has_written(train: Train, played: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    done = train("report", str(played / "out"), "--out", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: the report of {played / 'out'}\n"
    assert path.read_text() == (played / "page.html").read_text()


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


def test_faults_and_attempts_are_on_the_page(page: Page, played: Path) -> None:
    assert page.facts["steps made again"] == "2 in 2 attempts"
    assert_strikes_are_on(played / "page.html")


def assert_strikes_are_on(page: Path) -> None:
    """The table has a row for each fault of the runs here."""
    text = page.read_text()
    for row in ("<td>slow-2</td><td>slow</td><td>5</td>", "<td>kill-1</td><td>kill</td><td>13</td>"):
        assert row in text
    assert "<td>rank 1 on node0</td>" in text and "<td>the whole job</td>" in text


def test_a_last_loss_that_is_no_number_is_named(played: Path, tmp_path: Path) -> None:
    """A run of which a picture is drawn is slow; here its figures alone are read."""
    events = [json.loads(line) for line in (played / "out" / "metrics.jsonl").read_text().splitlines()]
    [event for event in events if event["event"] == "step"][-1]["loss"] = None
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    assert dict(run_facts(read_history(tmp_path), 2.5))["loss"] == "no number after the last step"


BREAKS = (*RUN[: RUN.index("nan job at=step:12")], "nan job at=step:20")


@pytest.mark.slow
@pytest.mark.parametrize("keeps_files", [True, False])
def test_faults_and_attempts_are_on_the_page_of_a_run_that_ends(
    train: Train, tmp_path: Path, keeps_files: bool
) -> None:
    files = ("--output-dir", str(tmp_path / "out")) if keeps_files else ()
    assert train(*BREAKS, *files, "--report", str(tmp_path / "page.html")).returncode == 0
    page = Page((tmp_path / "page.html").read_text())
    assert page.facts["steps made again"] == "2 in 2 attempts"
    assert page.facts["loss"] == "no number after the last step"
    assert_strikes_are_on(tmp_path / "page.html")


@pytest.mark.slow
def test_a_run_that_a_later_process_goes_on_with_is_whole_on_the_page(train: Train, tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    run = ("--config", "debug", "--speed", "max", "--output-dir", str(out), "--set", "faults.restarts=0")
    killed = (*run, "--fault", "kill rank=1 at=step:13")
    assert train(*killed).returncode == 1
    done = train(*killed, "--resume", "auto", "--report", str(page))
    assert done.returncode == 0, done.stderr
    assert Page(page.read_text()).facts["steps"] == "20 of 20"
    assert Page(page.read_text()).facts["steps made again"] == "2 in 2 attempts"


@pytest.mark.slow
def test_figures_that_are_written_as_strings_are_drawn(train: Train, played: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    assert train(*RUN, "--set", "log.json_values=strings", "--output-dir", str(out)).returncode == 0
    assert train("report", str(out), "-o", str(page)).returncode == 0
    assert page.read_text() == (played / "page.html").read_text()


def test_experts_have_groups_and_virtual_stages_are_named(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "plan.html"
    assert train("--config", "mixtral8x7b", "--plan", "--report", str(path)).returncode == 0
    page = Page(path.read_text())
    assert page.facts["layout"] == "DP 32 × TP 1 × PP 4 × CP 1, EP 8"
    assert "16 groups of 8" in path.read_text()
    assert "Drawn without the 8 virtual stages of each GPU" in path.read_text()
