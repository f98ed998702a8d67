"""Builds the page: a directory of static files that any web server can serve, with nothing in it from elsewhere."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from accelerate_sim.web.downloads import (
    HERE,
    PYODIDE,
    WEBGL,
    XTERM,
    BuildError,
    node,
    npm_package,
    numpy_wheel,
    run,
    wheels,
)
from accelerate_sim.web.intros import write_intros
from accelerate_sim.web.licences import write_licences
from accelerate_sim.web.preview import preview
from accelerate_sim.web.python_tree import PURE, make_tree

MARK = "build.json"
"""The file of a built page that holds the list of its files. A directory without it is never replaced."""
OF_PYODIDE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
LATER = ("intro/", "vendor/app.zip", "vendor/LICENSES.txt", "og.png", "picture.svg")
"""Files that a page without a network can do without."""


def build(target: Path, address: str = "") -> None:
    """Build the page at ``target``. Raises BuildError; then nothing is there that was not there before.

    ``address`` is where the page will be, for its preview image; empty: unknown.
    """
    if target.exists() and not (target / MARK).exists() and (not target.is_dir() or any(target.iterdir())):
        raise BuildError(f"{target} exists and is no page that was built before. Name another directory.")
    node()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        work = Path(scratch).resolve()
        page = work / "page"
        shutil.copytree(HERE / "page", page)
        _say("Drawing the preview image")
        (page / "og.png").write_bytes(preview())
        _say("Downloading Pyodide, numpy and xterm.js")
        npm = [npm_package(package, work) for package in (PYODIDE, XTERM, WEBGL)]
        _copy_runtime(page / "vendor", *npm)
        lock_file = page / "vendor/pyodide/pyodide-lock.json"
        downloaded = wheels(_new(work / "wheels"))
        make_tree(work / "tree", downloaded, lock_file)
        held = [zipfile.ZipFile(downloaded[name]) for name in PURE]
        write_licences(page / "vendor" / "LICENSES.txt", npm, [*held, numpy_wheel(downloaded["gbdraw"], lock_file)])
        _say("Compiling, and making the memory image")
        image = [node(), HERE / "node" / "make_engine.mjs", page / "vendor", work / "tree"]
        run(image, work, "The engine can't be built")
        _say("Recording the intros")
        write_intros(page / "intro")
        _address_preview(page / "index.html", address)
        _mark(page)
        shutil.rmtree(target, ignore_errors=True)
        page.rename(target)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _copy_runtime(vendor: Path, pyodide: Path, xterm: Path, webgl: Path) -> None:
    """Copy the files of the npm packages that the page loads."""
    (vendor / "pyodide").mkdir(parents=True)
    for name in OF_PYODIDE:
        shutil.copy(pyodide / name, vendor / "pyodide")
    for path in (xterm / "lib/xterm.mjs", xterm / "css/xterm.css", webgl / "lib/addon-webgl.mjs"):
        shutil.copy(path, vendor)


def _address_preview(index: Path, address: str) -> None:
    """Make the address of the preview image absolute, as sites that show it require."""
    text = index.read_text(encoding="utf-8")
    base = f"{address.rstrip('/')}/" if address else ""
    index.write_text(text.replace('content="og.png"', f'content="{base}og.png"'), encoding="utf-8")


def _mark(page: Path) -> None:
    """Write the list of files, and name the service worker's store after their contents."""
    names = sorted(path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + (page / name).read_bytes())
    kept = ["./", *(name for name in names if not name.startswith(LATER) and name != "sw.js")]
    worker = page / "sw.js"
    text = worker.read_text(encoding="utf-8").replace("BUILD", digest.hexdigest()[:12])
    worker.write_text(text.replace("[/* KEPT */]", json.dumps(kept)), encoding="utf-8")
    sizes = {name: (page / name).stat().st_size for name in names}
    (page / MARK).write_text(json.dumps({"build": digest.hexdigest(), "files": sizes}, indent=1), encoding="utf-8")
