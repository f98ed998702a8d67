"""Seconds of the page in Chromium: its first text, its first live frame and a whole run, on a first and a second visit.

    python -m tests.benchmarks.page_bench [PAGE] [--visits 5]

PAGE is a page that is built; without it one is built. Printed are the least and the median of the visits, in seconds on
the clock, and the compressed size of what a first visit loads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.web_page import START, ChromiumTab, built_page, chromium, marked, served

MARKS = {"first": "text on the screen", "live": "first live frame", "run_ms": "a whole run, with all frames"}
LATER = ("intro/", "vendor/app.zip", "vendor/LICENSES.txt", "vendor/pyodide/python_stdlib.zip", "og.png", "picture.svg")
"""Files that a first visit does not load before the run is computed; of the intros it loads one."""


def visit(context: Any, address: str) -> dict[str, float]:
    """Open the page, and let it compute its first run. Returns the marks in seconds."""
    tab = ChromiumTab(context.new_page())
    tab.goto(f"{address}?start-time={START}&cols=120&rows=40")
    found = {name: float(marked(tab, name)) / 1e3 for name in MARKS}
    marked(tab, "kept")
    tab.page.close()
    return found


def row(name: str, values: Sequence[float]) -> str:
    """A line of the table."""
    return f"  {MARKS[name]:30s} {min(values):6.2f} {statistics.median(values):6.2f}"


def first_download_bytes(page: Path) -> int:
    """Bytes that a first visit loads, compressed where a web server compresses."""
    names = json.loads((page / "build.json").read_text())["files"]
    needed = [page / name for name in names if not name.startswith(LATER)]
    packed = (len(zlib.compress(path.read_bytes(), 6)) for path in needed)
    return sum(min(size, path.stat().st_size) for size, path in zip(packed, needed, strict=True))


def main() -> None:
    """Build and serve the page, visit it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--visits", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = asked.page or built_page(Path(folder))
        found: dict[str, list[dict[str, float]]] = {"first visit": [], "second visit": []}
        with served(page) as address, chromium() as browser:
            for _ in range(asked.visits):
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                for kind in found:
                    found[kind].append(visit(context, address))
                context.close()
        for kind, visits in found.items():
            print(f"{kind}: least, median of {len(visits)}")
            print("\n".join(row(name, [each[name] for each in visits]) for name in MARKS))
        print(f"first download: {first_download_bytes(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
