"""What the ranks would all import, imported once before they are forked.

Only what the script itself imports at its top level, found where the script would find it, and only modules that do
nothing when they are imported but to be there: Python's own, a few packages that are known for it, and any package that
has a module ``before_fork``, which says so and is imported in its place.
"""

from __future__ import annotations

import ast
import gc
import importlib
import os
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

FORK_SAFE: Final = ("numpy", "tqdm", "colorlog", "yaml")
_BEFORE_ANY_SCRIPT: Final = frozenset({
    "abc", "builtins", "codecs", "encodings", "genericpath", "io", "marshal", "os", "posix", "posixpath", "site",
    "stat", "sys", "time", "zipimport",
})  # fmt: skip
"""What every interpreter has imported before it looks at its path; names with an underscore aside."""
_NEVER: Final = frozenset({"__main__", "antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo"})
"""Modules of Python's that do something when they are imported."""


def prepare(source: bytes, directory: str, name: str) -> types.CodeType:
    """Compile a script, and import what it imports. SyntaxError as Python would raise it; ``directory`` comes first on
    the path from now on, as in the script.
    """
    code = compile(source, name, "exec", dont_inherit=True)
    begin_path(directory)
    with _single_threaded_blas():
        for module in imported_by(source):
            _import(module, directory)
    return code


def begin_path(directory: str) -> None:
    """Have the script's directory first on the path, unless Python was told not to (``-P``, PYTHONSAFEPATH)."""
    if not sys.flags.safe_path:
        sys.path[0] = directory


def shadowed_by(directory: str) -> frozenset[str]:
    """Modules that are imported here, but that a script in ``directory`` has under the same name there."""
    if sys.flags.safe_path or not os.path.isdir(directory):
        return frozenset()
    entries = os.listdir(directory)
    there = {entry.removesuffix(".py"): os.path.join(directory, entry) for entry in entries if entry.endswith(".py")}
    there |= {entry: file for entry in entries if os.path.isfile(file := os.path.join(directory, entry, "__init__.py"))}
    candidates = [name for name in there if name in sys.modules and name not in _BEFORE_ANY_SCRIPT and name[0] != "_"]
    return frozenset(name for name in candidates if not _is_from(sys.modules[name], there[name]))


def _is_from(module: types.ModuleType, file: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(getattr(module, "__file__", None) or "", file)
    return False


def freeze() -> None:
    """Nothing that is here now is written by a child's garbage collector or lookups of names: its pages stay shared."""
    gc.collect()
    sys._clear_type_cache()  # a name that is replaced in there is written, too, wherever it lies
    sys._clear_type_cache()
    gc.freeze()


def imported_by(source: bytes) -> Iterator[str]:
    """Names of the modules that a script's top level imports, in their order."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _import(module: str, directory: str) -> None:
    package = module.partition(".")[0]
    if package in _NEVER or package in sys.builtin_module_names:
        return
    spec = PathFinder.find_spec(package, sys.path)
    if spec is None:
        return
    if _says_that_it_is_safe(spec):
        module = f"{package}.before_fork"
    elif package not in FORK_SAFE and not (package in sys.stdlib_module_names and not _is_in(spec, directory)):
        return
    with suppress(Exception):  # whatever is wrong with it, the script will say so itself
        importlib.import_module(module)


def _says_that_it_is_safe(spec: ModuleSpec) -> bool:
    return any(Path(folder, "before_fork.py").is_file() for folder in spec.submodule_search_locations or ())


def _is_in(spec: ModuleSpec, directory: str) -> bool:
    """Whether a module is the user's own, under a name that Python has, too."""
    folders = (directory, os.path.join(directory, spec.name))
    return spec.origin is not None and os.path.dirname(spec.origin) in folders


class _single_threaded_blas:
    """numpy's BLAS starts its threads when it is imported; none may be there when we fork."""

    _VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._VARIABLES}
        os.environ.update(dict.fromkeys(self._VARIABLES, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
