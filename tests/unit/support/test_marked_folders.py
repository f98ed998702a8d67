"""Folders that a plain run does not read have no test that it would run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import MARKED


def is_marked(statement: ast.stmt) -> bool:
    """Return whether an assignment to ``pytestmark``, or a test's decorators, name one of the markers."""
    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark":
        return any(marker in ast.unparse(statement.value) for marker in ("mark.real", "mark.slow"))
    decorators = statement.decorator_list if isinstance(statement, ast.FunctionDef) else []
    return any(ast.unparse(each) in ("pytest.mark.real", "pytest.mark.slow") for each in decorators)


@pytest.mark.parametrize("folder", sorted(MARKED), ids=lambda folder: folder.name)
def test_every_test_of_the_folder_is_marked(folder: Path) -> None:
    files = sorted(folder.rglob("test_*.py"))
    assert files
    for file in files:
        body = ast.parse(file.read_text(encoding="utf-8")).body
        tests = [each for each in body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")]
        assert any(map(is_marked, [each for each in body if each not in tests])) or all(map(is_marked, tests)), file
