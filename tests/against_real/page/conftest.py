"""Fixtures of the page's tests: the page, built and served once, and tabs of Chromium and Firefox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.web_page import ChromiumTab, Tab, Visit, built_page, chromium, firefox_tab, served


@pytest.fixture(scope="session")
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
