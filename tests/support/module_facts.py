"""Docstrings and imports of a module, from its text: a syntax tree is a hundred times as large, and is not kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

FOR_TYPE_CHECKERS = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@dataclass(frozen=True, slots=True)
class Docstring:
    """A string that is a statement: of a module, a class, a function, or a field."""

    first_line: int
    last_line: int
    text: str


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: ``import a, b``, or with a ``base``, ``from base import a, b``."""

    names: tuple[str, ...]
    base: str | None
    level: int
    """Number of dots before the base."""
    in_function: bool
    for_types: bool
    """It is under ``TYPE_CHECKING``."""


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """Docstrings and imports of a module in the order of its lines."""

    docstrings: tuple[Docstring, ...]
    imports: tuple[Import, ...]


@cache
def facts_of(source: str) -> ModuleFacts:
    """Parse the text of a module."""
    docstrings, imports = [], []
    for node, in_function, for_types in _statements(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                docstrings.append(Docstring(node.lineno, node.end_lineno or node.lineno, text))
            case ast.Import():
                names = tuple(alias.name for alias in node.names)
                imports.append(Import(names, None, 0, in_function, for_types))
            case ast.ImportFrom():
                names = tuple(alias.name for alias in node.names)
                imports.append(Import(names, node.module or "", node.level, in_function, for_types))
    return ModuleFacts(tuple(docstrings), tuple(imports))


def _statements(
    node: ast.AST, in_function: bool = False, for_types: bool = False
) -> Iterator[tuple[ast.AST, bool, bool]]:
    """Each statement below a node, with whether it is in a function, and under ``TYPE_CHECKING``."""
    in_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    guarded = isinstance(node, ast.If) and ast.unparse(node.test) in FOR_TYPE_CHECKERS
    for block in ("body", "handlers", "cases", "orelse", "finalbody"):
        for child in getattr(node, block, ()):
            below = for_types or (guarded and block == "body")
            yield child, in_function, below
            yield from _statements(child, in_function, below)
