"""The page in real browsers: the command line's bytes, the intro, seeking, controls, mistakes, sizes, no network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyte
import pytest

from accelerate_sim.web import engine
from tests.support.reading import Train
from tests.support.web_page import ChromiumTab, Tab, built_page, chromium, firefox_tab, marked, served

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

START = "2026-01-31T09:30:00"
AT = ("--start-time", START)
SAME_S = 1e-5
Visit = Callable[..., ChromiumTab]
TEXT = "document.getElementById('text').textContent"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page."""
    with served(built_page(tmp_path_factory.mktemp("page"))) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Any, site: str) -> Iterator[Visit]:
    """``visit(query, **options)`` opens the page as somebody who was never there."""
    with ExitStack() as contexts:

        def open_page(query: str = "", before: str = "", **options: Any) -> ChromiumTab:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            contexts.callback(context.close)
            context.add_init_script(before)
            tab = ChromiumTab(context.new_page())
            tab.goto(site + query)
            return tab

        yield open_page


@pytest.fixture(params=["chromium", "firefox"])
def tab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tab]:
    """A tab of either browser."""
    if request.param == "firefox":
        with firefox_tab(tmp_path) as tab:
            yield tab
        return
    context = request.getfixturevalue("browser").new_context(viewport={"width": 1280, "height": 800})
    yield ChromiumTab(context.new_page())
    context.close()


def recorded(train: Train, tmp_path: Path, *arguments: str, size: str = "120x40") -> list[Any]:
    """Frames of ``--record``."""
    cast = tmp_path / "run.cast"
    done = train(*arguments, *AT, "--record", str(cast), "--record-size", size)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in cast.read_text(encoding="utf-8").splitlines()[1:]]
    return [[second, text] for second, _, text in events]


def first_run(tab: Tab) -> list[Any]:
    """The engine's frames of the first run, whole."""
    marked(tab, "whole")
    frames: list[Any] = tab.evaluate("player.frames.slice(0, player.runs[1]?.first)")
    return frames


def require_same(shown: list[Any], real: list[Any]) -> None:
    """Fail unless the frames have the same bytes at the same times."""
    assert [text for _, text in shown] == [text for _, text in real]
    assert max(abs(mine[0] - its[0]) for mine, its in zip(shown, real, strict=True)) < SAME_S


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
    ],
)  # fmt: skip
def test_it_shows_the_bytes_of_the_command_line(visit: Visit, train: Train, tmp_path: Path, query, arguments, size):
    tab = visit(f"?{query}&start-time={START}&intro=0")
    require_same(first_run(tab), recorded(train, tmp_path, *arguments, size=size))
    assert tab.faults == []


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


def screen_lines(tab: ChromiumTab) -> list[str]:
    tab.evaluate("new Promise((done) => terminal.write('', done))")
    lines = tab.evaluate(
        "(({active}) => [...Array(terminal.rows).keys()].map((row) => active.getLine(active.baseY + row)"
        ".translateToString(true)))(terminal.buffer)"
    )
    return [line.rstrip() for line in lines]


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
    tab = visit(f"?config=debug&start-time={START}&cols=120&rows=40&x=16")
    tab.wait_for("player.runs.length > 2 && player.run > 1")
    second = tab.evaluate("player.frames.slice(0, player.runs[2].first)")
    require_same(second, recorded(train, tmp_path, "--config", "debug", "--runs", "2"))


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
    batches: list[str] = []
    arguments = ["--config", "debug", "--seed", "3", *AT]
    engine.play(arguments, 120, 40, batches.append, interrupt_s=tab.evaluate("player.frames.at(-1)[0]"))
    require_same(tab.evaluate("player.frames"), [frame for batch in batches for frame in json.loads(batch)])
    assert tab.evaluate("show.code") == 130
    assert any(line.startswith("Interrupted: ") for line in screen_lines(tab))


def test_keys_pause_hurry_seek_and_share(visit: Visit):
    tab = visit("?config=debug&seed=3&runs=1")
    marked(tab, "whole")
    tab.page.keyboard.press("Space")
    stopped = tab.evaluate("[player.playing, player.now]")
    tab.page.wait_for_timeout(300)
    assert tab.evaluate("[player.playing, player.now]") == stopped and stopped[0] is False
    tab.page.keyboard.press("+")
    assert tab.evaluate("player.rate") == 2
    tab.page.keyboard.press("5")
    half = tab.evaluate("player.now")
    assert half == pytest.approx(tab.evaluate("player.end") / 2, abs=0.1)
    tab.page.keyboard.press("ArrowLeft")
    assert tab.evaluate("player.now") == pytest.approx(max(half - 5, 0), abs=0.1)
    tab.page.keyboard.press("s")
    tab.wait_for("location.search.includes('t=')")
    link = tab.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    assert {"config": "debug", "seed": "3", "cols": "120", "rows": "40"}.items() <= link.items()
    shown = tab.evaluate("player.now")
    assert float(link["t"]) == pytest.approx(shown, abs=0.1)
    other = visit(tab.evaluate("location.search") + "&autoplay=0", viewport={"width": 900, "height": 700})
    marked(other, "whole")
    tab.evaluate(f"player.seek({link['t']})")
    assert screen_lines(other) == screen_lines(tab) and any(screen_lines(tab))


@pytest.mark.parametrize(
    "query, arguments",
    [
        ("?set=train.lrr%3D1", ("--set", "train.lrr=1")),
        ("?colour=red", ("--colour", "red")),
        ("?config=lama70b", ("--config", "lama70b")),
        ("?seed", ("--seed",)),
        ("?speed=0&config=debug", ("--speed", "0", "--config", "debug")),
    ],
)
def test_a_mistake_gets_the_words_of_the_command_line(visit: Visit, train: Train, query: str, arguments):
    tab = visit(f"{query}&start-time={START}&cols=120&rows=40")
    marked(tab, "whole")
    said = "".join(text for _, text in tab.evaluate("player.frames")).replace("\r\n", "\n")
    done = train(*arguments, *(() if "--config" in arguments else ("--config", "llama70b")), *AT)
    assert said == done.stderr and done.returncode == 2
    tab.wait_for("document.getElementById('engine').textContent === 'exit code 2'")
    assert any(screen_lines(tab))


@pytest.mark.parametrize(
    "query, arguments",
    [
        ("?plan&config=llama405b", ("--plan", "--config", "llama405b")),
        ("?list=models", ("--list", "models")),
        ("?version", ("--version",)),
        ("?print-config&config=debug", ("--print-config", "--config", "debug")),
    ],
)
def test_texts_are_those_of_the_command_line(visit: Visit, train: Train, query: str, arguments):
    tab = visit(query)
    marked(tab, "whole")
    assert tab.evaluate(TEXT) == train(*arguments).stdout


def test_help_is_shown(visit: Visit):
    tab = visit("?help")
    marked(tab, "whole")
    assert "--print-config" in tab.evaluate(TEXT) and "simulated" in tab.evaluate(TEXT)


def test_the_form_of_a_plan_changes_the_command_line(visit: Visit, train: Train):
    tab = visit("?plan&config=llama70b")
    tab.wait_for("document.querySelector('[name=\"cluster.nodes\"]').value === '8'")
    tab.page.select_option('[name="cluster.gpu"]', "B200")
    tab.wait_for(f"{TEXT}.includes('B200')")
    tab.page.fill('[name="cluster.nodes"]', "16")
    tab.wait_for(f"{TEXT}.includes('16 nodes of 8')")
    changes = ("--set", "cluster.gpu=B200", "--set", "cluster.nodes=16")
    assert tab.evaluate(TEXT) == train("--plan", "--config", "llama70b", *changes).stdout
    assert "cluster.nodes=16" in tab.page.text_content("#command")
    tab.page.fill('[name="parallel.tensor"]', "3")
    tab.wait_for(f"{TEXT}.includes('does not divide')")
    assert tab.evaluate(TEXT) == train("--plan", "--config", "llama70b", *changes, "--set", "parallel.tensor=3").stderr


def test_the_check_is_the_digest_of_a_pipe(visit: Visit, train: Train):
    tab = visit(f"?config=debug&seed=9&start-time={START}")
    marked(tab, "whole")
    tab.page.click("#check")
    tab.wait_for("/^[0-9a-f]{64}$/.test(document.getElementById('digest').textContent)")
    printed = train("--config", "debug", "--seed", "9", *AT, "--speed", "max").stdout
    assert tab.page.text_content("#digest") == hashlib.sha256(printed.encode()).hexdigest()
    command = f"python train.py --config debug --seed 9 --start-time {START} --speed max | sha256sum"
    assert tab.page.text_content("#digest-command") == command


def test_who_wants_no_motion_gets_a_still(visit: Visit):
    tab = visit("", reduced_motion="reduce")
    marked(tab, "first")
    tab.wait_for("player.now === 20")
    tab.page.wait_for_timeout(300)
    assert tab.evaluate("[player.playing, player.now]") == [False, 20]


@pytest.mark.parametrize("width, height", [(360, 740), (768, 1024), (844, 390), (1920, 1080)])
def test_it_fits(visit: Visit, width: int, height: int):
    tab = visit("", viewport={"width": width, "height": height})
    marked(tab, "first")
    tab.page.wait_for_timeout(300)
    overflow, terminal, stage, bar = tab.evaluate(
        "[document.documentElement.scrollWidth - innerWidth, ...['.xterm-screen', '#stage', 'footer']"
        ".map((place) => document.querySelector(place).getBoundingClientRect().toJSON())]"
    )
    assert overflow <= 0 and bar["right"] <= width and bar["bottom"] <= height + 1
    assert terminal["width"] <= stage["width"] and terminal["bottom"] <= bar["top"], "the bar covers no line"
    assert terminal["width"] > 0.55 * stage["width"] or terminal["height"] > 0.55 * stage["height"]


def test_a_swipe_seeks_and_a_double_tap_asks_for_the_full_screen(visit: Visit):
    script = "Element.prototype.requestFullscreen = function () { window.asked = this.tagName; };"
    tab = visit("?config=llama70b&runs=1&autoplay=0&t=12", has_touch=True, before=script)
    marked(tab, "whole")
    tab.wait_for("player.now === 12")
    touch = (
        "(kind, x) => stage.dispatchEvent(new PointerEvent(kind, {pointerType: 'touch', isPrimary: true, clientX: x,"
        " clientY: 200, bubbles: true}))"
    )
    tab.evaluate(f"[['pointerdown', 300], ['pointerup', 100]].map(([kind, x]) => ({touch})(kind, x))")
    assert tab.evaluate("player.now") == 2
    taps = "['pointerdown', 'pointerup', 'pointerdown', 'pointerup']"
    tab.evaluate(f"{taps}.map((kind) => ({touch})(kind, 100))")
    assert tab.evaluate("window.asked") == "HTML"


def test_a_hidden_page_stands_still(visit: Visit):
    hide = "Object.defineProperty(document, 'hidden', {get: () => window.away}); window.away = false;"
    tab = visit("?config=llama70b", before=hide)
    tab.wait_for("player.now > 0.5")
    tab.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    before = tab.evaluate("player.now")
    tab.page.wait_for_timeout(700)
    assert tab.evaluate("player.now") == before
    tab.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    tab.wait_for(f"player.now > {before}")
    assert tab.evaluate("player.now") < before + 2.5, "the time away is not made up"


def test_a_browser_without_webassembly_gets_a_sentence_and_the_recording(visit: Visit):
    tab = visit("", before="const usual = Worker; window.Worker = function () { throw new Error('no workers here'); };")
    tab.wait_for("player.frames.length > 100 && player.now > 0.5")
    said = tab.page.text_content("#engine")
    assert said == "recorded; this browser cannot run the engine: no workers here"
    other = visit("?seed=5", before="window.Worker = function () { throw new Error('no workers here'); };")
    other.wait_for("document.getElementById('engine').textContent.startsWith('This browser cannot run Python')")
    assert any("This browser cannot run Python: no workers here" in line for line in screen_lines(other))


def test_looks_and_text_for_screen_readers(visit: Visit):
    tab = visit("?config=debug&theme=crt&reader")
    marked(tab, "live")
    assert tab.evaluate("document.documentElement.dataset.theme") == "crt"
    tab.wait_for("document.querySelector('.xterm-accessibility') !== null")
    tab.page.keyboard.press("t")
    assert tab.evaluate("[document.documentElement.dataset.theme, terminal.options.theme.background]") == [
        "dark",
        "#0b0e14",
    ]
    light = visit("?config=debug", color_scheme="light")
    assert light.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_second_visit_needs_no_network(visit: Visit):
    tab = visit("?config=debug&seed=3")
    marked(tab, "kept")
    tab.page.context.set_offline(True)
    tab.page.reload()
    marked(tab, "whole")
    print(tab.evaluate("marks"))
    assert tab.evaluate("player.frames.length") > 20 and marked(tab, "origin") == "image"
    tab.page.goto(tab.page.url.replace("config=debug", "config=llama8b"))
    marked(tab, "live")
