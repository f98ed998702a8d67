"""The licences of what a built page holds: each package with its name, version, licence and text."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from accelerate_sim.web.licences import write_licences


@pytest.mark.parametrize("repository", ["https://example.org/screen", {"url": "https://example.org/screen"}])
def test_each_package_is_there_with_its_text(tmp_path: Path, repository: object):
    npm = tmp_path / "package"
    npm.mkdir()
    facts = {"name": "screen", "version": "1.2", "license": "MIT", "repository": repository}
    (npm / "package.json").write_text(json.dumps(facts))
    (npm / "LICENSE").write_text("Do what you like.")
    with zipfile.ZipFile(tmp_path / "bar-3.4-py3-none-any.whl", "w") as wheel:
        wheel.writestr("bar-3.4.dist-info/METADATA", "Name: bar\nVersion: 3.4\nLicense-Expression: MPL-2.0\n")
        wheel.writestr("bar-3.4.dist-info/licenses/LICENCE", "Share what you change.")
        wheel.writestr("bar/licenser.py", "")
    with zipfile.ZipFile(tmp_path / "bar-3.4-py3-none-any.whl") as wheel:
        write_licences(tmp_path / "LICENSES.txt", [npm], [wheel])
    text = (tmp_path / "LICENSES.txt").read_text()
    assert "screen 1.2: MIT\nhttps://example.org/screen\n\nDo what you like." in text
    assert "bar 3.4: MPL-2.0\n\nShare what you change." in text and "CPython" in text
