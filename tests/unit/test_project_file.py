"""The project file: its licence, the group of developers, and the options of pytest."""

from __future__ import annotations

import re
import tomllib

from tests.support.repository import ROOT

PROJECT_FILE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_group_of_developers_repeats_no_list() -> None:
    """It is made of extras, so that a package is named in one place."""
    project = PROJECT_FILE["project"]
    for requirement in PROJECT_FILE["dependency-groups"]["dev"]:
        found = re.fullmatch(r"([\w-]+)\[([\w,-]+)\]", requirement)
        assert found
        name, extras = found.groups()
        assert name == project["name"]
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_licence_is_an_expression_and_its_text_is_there() -> None:
    project = PROJECT_FILE["project"]
    assert project["license"] == "MIT"
    assert all((ROOT / name).is_file() for name in project["license-files"])
    assert not any("License" in classifier for classifier in project["classifiers"])


def test_markers_are_strict_and_tests_have_a_timeout() -> None:
    options = PROJECT_FILE["tool"]["pytest"]["ini_options"]
    assert "--strict-markers" in options["addopts"]
    assert options["timeout"] > 0
    assert any(each.startswith("pytest-timeout") for each in PROJECT_FILE["project"]["optional-dependencies"]["test"])
