"""Reads the leading imports of a script from its syntax tree, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = ""
"""Name of a module that is imported relative to a package."""
_PATH_METHODS: Final = frozenset({"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"})


@dataclass(frozen=True, slots=True)
class TopLevel:
    """Leading imports of a script, or of a module with the packages that are imported before it."""

    imports: tuple[str, ...]
    """Modules that are imported before any other statement, in their order."""
    changes_path: bool
    """``sys.path`` is changed somewhere, so later imports may find other modules."""


def read_top_level(sources: Iterable[bytes]) -> TopLevel:
    """Read sources that run one after the other. Raises SyntaxError or ValueError if one is no Python."""
    imports: list[str] = []
    changes_path = only_imports = False
    for number, source in enumerate(sources):
        tree = ast.parse(source)
        changes_path = changes_path or any(map(_changes_path, ast.walk(tree)))
        if number == 0 or only_imports:
            names, only_imports = _leading_imports(tree)
            imports += names
    return TopLevel(tuple(imports), changes_path)


def _leading_imports(tree: ast.Module) -> tuple[list[str], bool]:
    """Return names imported before the first other statement, and whether there is no other statement."""
    names: list[str] = []
    for number, statement in enumerate(tree.body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names += _imported(statement)
        elif not (number == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            return names, False
    return names, True


def _imported(statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif statement.level or not statement.module:
        yield UNKNOWN
    elif statement.module != "__future__":
        yield statement.module


def _changes_path(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr=method, value=target)) if _is_path(target):
            return method in _PATH_METHODS
        case ast.Call(func=ast.Attribute(attr="addsitedir") | ast.Name(id="addsitedir")):
            return True
        case ast.ImportFrom(module="sys", names=names):
            return any(alias.name == "path" for alias in names)
        case ast.Subscript(value=target, ctx=ast.Store() | ast.Del()):
            return _is_path(target)
        case ast.Attribute(ctx=ast.Store() | ast.Del()):
            return _is_path(node)
    return False


def _is_path(node: ast.AST) -> bool:
    """Return whether an expression is ``sys.path``."""
    match node:
        case ast.Attribute(attr="path", value=ast.Name(id="sys")):
            return True
    return False
