"""Collects the licences of everything that a built page holds, as those who copy it need them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from pathlib import Path

CPYTHON = "CPython 3.13, inside pyodide: PSF-2.0\nhttps://docs.python.org/3/license.html"
LICENCE = re.compile(r"(licen[cs]e|copying|notice)[^/]*$", re.IGNORECASE)


def write_licences(path: Path, npm_packages: Iterable[Path], wheels: Iterable[zipfile.ZipFile]) -> None:
    """Write name, version, licence and licence text of each package to one file."""
    texts = [CPYTHON, *map(_of_npm, npm_packages), *map(_of_wheel, wheels)]
    rule = f"\n\n{'=' * 100}\n\n"
    path.write_text(rule.join(texts) + "\n", encoding="utf-8")


def _of_npm(folder: Path) -> str:
    facts = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    texts = [each.read_text(encoding="utf-8") for each in sorted(folder.iterdir()) if LICENCE.search(each.name)]
    repository = facts.get("repository", "")
    source = repository if isinstance(repository, str) else repository["url"]
    return "\n\n".join([f"{facts['name']} {facts['version']}: {facts['license']}\n{source}", *texts])


def _of_wheel(wheel: zipfile.ZipFile) -> str:
    names = [name for name in wheel.namelist() if ".dist-info/" in name]
    metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
    facts = HeaderParser().parsestr(wheel.read(metadata).decode())
    licence = facts["License-Expression"] or (facts["License"] or "see below").splitlines()[0]
    return "\n\n".join([f"{facts['Name']} {facts['Version']}: {licence}", *_texts(wheel, names)])


def _texts(wheel: zipfile.ZipFile, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if LICENCE.search(name):
            yield wheel.read(name).decode(errors="replace")
