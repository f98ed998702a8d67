"""Controls, sizes and looks of the page, and a page without an engine, a network or a wish for motion."""

from __future__ import annotations

import pytest

from tests.support.web_page import Visit, marked, screen_lines

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


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
    other.wait_for("player.goal === null")  # the second can be one of a later run
    tab.evaluate(f"player.seek({link['t']})")
    assert screen_lines(other) == screen_lines(tab) and any(screen_lines(tab))


def test_who_wants_no_motion_gets_a_still(visit: Visit):
    tab = visit("", reduced_motion="reduce")
    marked(tab, "first")
    tab.wait_for("player.now === 20")
    tab.page.wait_for_timeout(300)
    assert tab.evaluate("[player.playing, player.now]") == [False, 20]


@pytest.mark.parametrize("width, height", [(360, 740), (390, 844), (768, 1024), (844, 390), (667, 375), (1920, 1080)])
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
    note, command, engine = (tab.page.locator(place) for place in (".note", "#command", "#engine"))
    assert note.is_visible() and (note.text_content() or "").startswith("Simulated: ")
    for text in (note, command, engine):
        box = text.evaluate("({clientWidth, scrollWidth}) => [clientWidth, scrollWidth]")
        assert box[0] >= box[1] or text.evaluate("(node) => getComputedStyle(node).overflowX") == "auto", (
            "it is not cut"
        )


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
