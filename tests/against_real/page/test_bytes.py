"""The page shows the command line's bytes: in both browsers, from both starts, run after run, after seeking."""

from __future__ import annotations

import json
from pathlib import Path

import pyte
import pytest

from accelerate_sim.web import engine
from tests.support.reading import Train
from tests.support.web_page import AT, START, Tab, Visit, first_run, marked, recorded, require_same, screen_lines

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    "query, arguments, size",
    [
        ("config=llama70b&seed=42", ("--config", "llama70b", "--seed", "42"), "120x40"),
        ("seed=7&config=mixtral8x7b&cols=80&rows=32", ("--config", "mixtral8x7b", "--seed", "7"), "80x32"),
        (
            "config=llama405b&set=train.lr%3D1e-4&max-steps=200&cols=44&rows=34",
            ("--config", "llama405b", "--set", "train.lr=1e-4", "--max-steps", "200"), "44x34",
        ),
        ("ascii&config=classic&cols=100&rows=30", ("--config", "classic", "--ascii"), "100x30"),
        (
            "dashboard&config=debug&set=run.runs%3D1&cols=100&rows=30",
            ("--config", "debug", "--dashboard", "--set", "run.runs=1"), "100x30",
        ),
    ],
)  # fmt: skip
def test_it_shows_the_bytes_of_the_command_line(visit: Visit, train: Train, tmp_path: Path, query, arguments, size):
    tab = visit(f"?{query}&start-time={START}&intro=0")
    require_same(first_run(tab), recorded(train, tmp_path, *arguments, size=size))
    assert tab.faults == []


def test_a_run_goes_on_after_a_fault(visit: Visit):
    # The launcher's lines name the path of the Python, so the bytes are not those of another one.
    tab = visit(f"?fault=kill%20rank%3D3%20at%3Dstep%3A15&config=debug&start-time={START}&cols=100&rows=30")
    text = "".join(text for _, text in first_run(tab))
    assert "Attempt 2: the launcher has restarted the job" in text and "Training finished successfully" in text
    assert tab.evaluate("show.code") == 0 and tab.faults == []


@pytest.mark.parametrize("start, origin", [("", "image"), ("&parts", "parts")])
def test_both_browsers_and_both_starts_show_the_same_bytes(
    tab: Tab, site: str, train: Train, tmp_path: Path, start: str, origin: str
):
    tab.goto(f"{site}?config=llama70b&seed=7&max-steps=80&cols=120&rows=40&start-time={START}{start}")
    assert marked(tab, "origin") == origin
    arguments = ("--config", "llama70b", "--seed", "7", "--max-steps", "80")
    require_same(first_run(tab), recorded(train, tmp_path, *arguments))


def test_the_recorded_intro_comes_first_and_is_what_the_engine_computes(tab: Tab, site: str):
    tab.goto(site)
    marks = {name: marked(tab, name) for name in ("first", "ready", "live", "whole", "same", "renderer")}
    print(tab.evaluate("marks"))
    assert marks["same"] == "same"
    assert marks["first"] < marks["ready"] < marks["live"]
    assert tab.evaluate("player.now") > 0.5


@pytest.mark.parametrize("config", ["llama8b", "llama405b", "mixtral8x7b", "gpt3-175b", "classic", "debug"])
def test_each_shipped_config_has_its_intro(visit: Visit, config: str):
    tab = visit(f"?config={config}")
    marked(tab, "whole")
    assert tab.evaluate("marks.same") == "same"


def test_nothing_comes_from_elsewhere(visit: Visit, site: str):
    tab = visit("?config=debug")
    marked(tab, "kept")
    assert [url for url in tab.requested if not url.startswith((site, "data:", "blob:"))] == []


def test_the_licences_of_all_parts_are_there(visit: Visit):
    tab = visit("vendor/LICENSES.txt")
    held = tab.page.text_content("body")
    for name in ("CPython", "pyodide 0.29.0: MPL-2.0", "@xterm/xterm", "numpy 2.2.5", "typer", "PyYAML", "tqdm", "MIT"):
        assert name in held


def test_seeking_back_and_forth_draws_what_a_terminal_would(visit: Visit, train: Train, tmp_path: Path):
    tab = visit(f"?config=llama70b&start-time={START}&autoplay=0&cols=120&rows=40")
    marked(tab, "whole")
    screen = pyte.Screen(120, 40)
    stream = pyte.Stream(screen)
    for second, text in recorded(train, tmp_path, "--config", "llama70b"):
        if second > 90:
            break
        stream.feed(text)
    for second in (90, 150, 20, 90):
        tab.evaluate(f"player.seek({second})")
    assert screen_lines(tab) == [line.rstrip() for line in screen.display]


def test_runs_follow_each_other_for_ever(visit: Visit, train: Train, tmp_path: Path):
    tab = visit(f"?config=debug&start-time={START}&cols=120&rows=40&x=16&autoplay=0&t=25")
    tab.wait_for("player.now === 25 && player.runs.length > 2")
    two = tab.evaluate("player.frames.slice(0, player.runs[2].first)")
    require_same(two, recorded(train, tmp_path, "--config", "debug", "--runs", "2"))
    tab.evaluate("player.play()")
    tab.wait_for("player.now > 120")


def test_a_dashboard_stays_on_the_screen_from_run_to_run(visit: Visit, train: Train, tmp_path: Path):
    tab = visit(f"?dashboard&config=debug&runs=3&start-time={START}&cols=120&rows=40&x=16&autoplay=0")
    tab.wait_for("player.whole")
    real = recorded(train, tmp_path, "--config", "debug", "--dashboard", "--runs", "3")
    require_same(tab.evaluate("player.frames"), real)
    last_run = tab.evaluate("player.runs[2].first")
    screen = pyte.Screen(120, 40)
    pyte.Stream(screen).feed("".join(text for _, text in real[: last_run + 3]))
    for second in (real[last_run + 2][0], 1, real[last_run + 2][0]):  # from run 1 on into run 3, and back
        tab.evaluate(f"player.seek({second} + 1e-4)")
    assert screen_lines(tab) == [line.rstrip() for line in screen.display]


def test_a_link_to_a_later_run_waits_for_it(visit: Visit):
    tab = visit(f"?config=debug&start-time={START}&autoplay=0&t=25&intro=0")
    tab.wait_for("player.now === 25")
    assert tab.evaluate("player.run") > 0 and any("Run 2" in line for line in screen_lines(tab))


def test_runs_drawn_from_the_catalog_are_repeatable(visit: Visit, train: Train, tmp_path: Path):
    tab = visit(f"?config=&max-steps=3&runs=1&start-time={START}&cols=120&rows=40")
    drawn = ("--seed", tab.evaluate("query.seed"), "--max-steps", "3")
    require_same(first_run(tab), recorded(train, tmp_path, *drawn))


def test_ctrl_c_ends_the_run_as_in_a_terminal(visit: Visit):
    tab = visit(f"?config=debug&seed=3&start-time={START}&cols=120&rows=40&autoplay=0")
    marked(tab, "whole")
    tab.evaluate("player.seek(6)")
    tab.page.keyboard.press("Control+c")
    marked(tab, "interrupted")
    batches: list[bytes] = []
    arguments = ["--config", "debug", "--seed", "3", *AT]
    engine.play(arguments, 120, 40, batches.append, interrupt_s=tab.evaluate("player.frames.at(-1)[0]"))
    require_same(tab.evaluate("player.frames"), [frame for batch in batches for frame in json.loads(batch)])
    assert tab.evaluate("show.code") == 130
    assert any(line.startswith("Interrupted: ") for line in screen_lines(tab))
