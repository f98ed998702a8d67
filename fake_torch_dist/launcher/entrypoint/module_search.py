"""Finds the module that ``-m`` names without importing its packages, which may have effects.

The standard ``find_spec`` imports the packages of a module. Here the folders are searched instead. Modules that only
the code of a package can find (by its own ``__path__``, or made by itself) stay unknown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Final

from fake_torch_dist.launcher.commandline.parser import UsageError
from fake_torch_dist.launcher.entrypoint.working_directory import working_directory

MAKES_MODULES: Final = ("__path__", "sys.modules", "meta_path", "path_hooks", "__import__", "exec(")
"""A package whose code has one of these words may have modules that are found in no folder."""


class UnknownModuleError(Exception):
    """Only the code of a package can tell whether it has a module."""


def check_module(name: str) -> None:
    """Raise UsageError if there is certainly no module of that name that ``python -m`` could run."""
    try:
        specs = find_module(name)
        if specs[-1] is None:
            hint = f"try {name[:-3]}" if name.endswith(".py") else f"looked in {working_directory()} and sys.path"
            raise UsageError(f"No module named {name}: {hint}")
        if specs[-1].submodule_search_locations is not None and find_module(f"{name}.__main__")[-1] is None:
            raise UsageError(
                f"No module named {name}.__main__; '{name}' is a package and cannot be directly executed: "
                "give a module in it"
            )
    except UsageError:
        raise
    except Exception:  # an import hook, an archive, a folder that can't be read: the ranks will find out
        return


def find_module(name: str) -> list[ModuleSpec | None]:
    """Return specs of a module's packages and of the module, outermost first; the last is None if there is none.

    Raises UnknownModuleError if that can't be told without running a package's code.
    """
    found: list[ModuleSpec | None] = []
    parts = name.split(".")
    locations: Sequence[str] | None = None
    for depth in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:depth]), locations)
        if spec is None:
            if any(_may_make_modules(package) for package in found):
                raise UnknownModuleError(name)
            return [*found, None]
        found.append(spec)
        locations = _locations(spec)
    return found


def source_of(spec: ModuleSpec) -> bytes | None:
    """Return the source of a module; empty for a folder without ``__init__``, None if there is none to read."""
    if spec.loader is None or spec.origin is None:
        return b""
    if not spec.origin.endswith(".py"):
        return None
    try:
        with open(spec.origin, "rb") as file:
            return file.read()
    except OSError:
        return None


def _may_make_modules(spec: ModuleSpec | None) -> bool:
    source = source_of(spec) if spec else b""
    return source is None or any(word.encode() in source for word in MAKES_MODULES)


def _locations(spec: ModuleSpec) -> list[str]:
    """Return the folders of a package; none for a module. importlib keeps a namespace's in an object that imports."""
    locations = spec.submodule_search_locations
    return [] if locations is None else list(getattr(locations, "_path", locations))


def _find(name: str, locations: Sequence[str] | None) -> ModuleSpec | None:
    """Look in the folders of the package, or, for a first name, where a rank looks; then ask other import hooks."""
    spec = _in_folders(name, [os.curdir, *sys.path] if locations is None else locations)
    if (spec and spec.loader) or locations == []:
        return spec
    return _by_hooks(name, locations) or spec


def _in_folders(name: str, folders: Sequence[str]) -> ModuleSpec | None:
    """Find a module like importlib's path finder, without an import of the parent package."""
    portions: list[str] = []
    for folder in folders:
        finder = _finder(folder)
        spec: ModuleSpec | None = finder.find_spec(name) if finder else None
        if spec is None:
            continue
        if spec.loader is not None:
            return spec
        portions += _locations(spec)
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _finder(folder: str):  # type: ignore[no-untyped-def]  # typeshed's protocol of it has no find_spec
    for hook in sys.path_hooks:
        try:
            return hook(folder)
        except ImportError:
            continue
    return None


def _by_hooks(name: str, locations: Sequence[str] | None) -> ModuleSpec | None:
    """Find a module by the finders of others, such as those of editable installs."""
    found = (finder.find_spec(name, locations) for finder in sys.meta_path if finder is not PathFinder)
    return next(filter(None, found), None)
